"""Score one pair of files, metric by metric, in whatever process this runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffwave.audio.checks import AudioError
from diffwave.audio.file import read_samples, resample
from diffwave.evaluation.metrics import SAMPLE_RATE, Metric, Signals
from diffwave.evaluation.perceptual import MetricError

# Vocoders put out whole frames; what differs by more is another utterance, or a part of it.
LENGTH_TOLERANCE = 0.05  # s

OK, METRIC_ERROR, UNREADABLE, MISMATCH, CRASHED = "ok", "metric_error", "unreadable", "mismatch", "crashed"
STATUSES = (OK, METRIC_ERROR, UNREADABLE, MISMATCH, CRASHED)


class MismatchError(ValueError):
    """Two files that cannot be compared with each other."""


@dataclass(frozen=True)
class Loading:
    """How files become signals.

    Args:
        resample: compare files of different rates (at 16 kHz) instead of refusing them.
        tolerance: by how much lengths may differ, in seconds.
    """

    resample: bool = False
    tolerance: float = LENGTH_TOLERANCE


def load_pair(reference: Path, estimate: Path, loading: Loading) -> tuple[np.ndarray, np.ndarray, float]:
    """Read two files at 16 kHz, cut to the shorter of them.

    Returns:
        Reference and estimate, float32 ``[N]``, and the length of the reference in seconds.

    Raises:
        AudioError: if a file cannot be read.
        MismatchError: if rates or lengths differ.
    """
    sides = [read_samples(path)[:2] for path in (reference, estimate)]
    rates = [rate for _, rate in sides]
    if rates[0] != rates[1] and not loading.resample:
        raise MismatchError(
            f"expected an estimate at the reference's {rates[0]} Hz; got {rates[1]} Hz (--resample compares at "
            f"{SAMPLE_RATE} Hz)"
        )
    seconds = [len(wav) / rate for wav, rate in sides]
    if abs(seconds[0] - seconds[1]) > loading.tolerance:
        raise MismatchError(f"expected {seconds[0]:.3f} s of audio, as the reference; got {seconds[1]:.3f} s")
    wavs = [wav if rate == SAMPLE_RATE else resample(wav, rate, SAMPLE_RATE) for wav, rate in sides]
    shorter = min(len(wav) for wav in wavs)
    return wavs[0][:shorter], wavs[1][:shorter], seconds[0]


def score(
    reference: Path, estimate: Path, metrics: Sequence[Metric], filterbank: np.ndarray, loading: Loading
) -> Iterator[dict[str, Any]]:
    """Score a pair; every finding is yielded at once, so that a crash loses only what came after it.

    Yields:
        ``{"status", "error"}`` if the pair cannot be compared; else ``{"seconds"}`` and, for each metric,
        ``{"metric", "value"}`` or ``{"metric", "error"}``.
    """
    try:
        wavs = load_pair(reference, estimate, loading)
    except MismatchError as error:
        yield {"status": MISMATCH, "error": str(error)}
        return
    except (AudioError, OSError, MemoryError) as error:
        yield {"status": UNREADABLE, "error": str(error) or type(error).__name__}
        return
    yield {"seconds": wavs[2]}
    signals = Signals(wavs[0], wavs[1], filterbank)
    for metric in metrics:
        yield {"metric": metric.name, **_compute(metric, signals)}


def _compute(metric: Metric, signals: Signals) -> dict[str, Any]:
    """A value, or why there is none; whatever a metric raises is its row's affair, not the run's."""
    assert metric.compute is not None
    try:
        value = float(metric.compute(signals))
    except MetricError as error:
        return {"error": str(error)}
    except Exception as error:
        return {"error": f"{metric.name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
    return {"value": value} if math.isfinite(value) else {"error": f"{metric.name}: the score is {value}"}
