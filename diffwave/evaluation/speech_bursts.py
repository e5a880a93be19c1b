"""How many speech bursts PESQ will find in a recording, before it is asked.

P.862 (section 10.1.2) detects speech by an adaptive threshold on the power of 4 ms frames, joins what is less than
200 ms apart and keeps what is at least 200 ms long. The count here leaves out its input filters.
"""

from __future__ import annotations

import numpy as np

_FRAME = 0.004  # s
_SHORTEST_SPEECH, _SHORTEST_PAUSE, _SHORTEST_BURST = 4, 50, 46  # frames; P.862 adds two at either end of a burst
_DYNAMIC_RANGE = 1e-4  # below the loudest frame, power
_THRESHOLD_ITERATIONS = 12


def count_bursts(wav: np.ndarray, sample_rate: int) -> int:
    """Speech bursts in ``[N]``, or in what a high-pass of 200 Hz leaves of it, whichever has more."""
    from scipy import signal

    high = signal.butter(4, 200, "highpass", fs=sample_rate, output="sos")
    if len(wav) == 0:
        return 0
    # Hum or a constant offset hides pauses, and PESQ filters them out before it looks for any.
    return max(_count(part, sample_rate) for part in (wav, signal.sosfilt(high, wav - np.mean(wav))))


def _count(wav: np.ndarray, sample_rate: int) -> int:
    size = int(_FRAME * sample_rate)
    whole = len(wav) // size * size
    power = np.square(wav[:whole], dtype=np.float64).reshape(-1, size).mean(axis=1)
    if len(power) == 0 or power.max() == 0:
        return 0
    power = np.maximum(power, _DYNAMIC_RANGE * power.max())
    runs = _runs(power > _threshold(power))
    runs = [(start, stop) for start, stop in runs if stop - start > _SHORTEST_SPEECH]
    joined: list[tuple[int, int]] = []
    for start, stop in runs:
        if joined and start - joined[-1][1] <= _SHORTEST_PAUSE:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return sum(stop - start >= _SHORTEST_BURST for start, stop in joined)


def _threshold(power: np.ndarray) -> float:
    """Two standard deviations above the mean of what lies below the threshold, to convergence."""
    threshold = float(power.mean())
    for _ in range(_THRESHOLD_ITERATIONS):
        noise = power[power <= threshold]
        if len(noise):
            threshold = 1.001 * float(noise.mean() + 2 * noise.std())
    return threshold


def _runs(active: np.ndarray) -> list[tuple[int, int]]:
    """Start and stop of every run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]])))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
