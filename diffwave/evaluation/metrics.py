"""Scores of an estimate against its reference, both at 16 kHz.

Every function takes the reference first.
"""

from __future__ import annotations

import math

import numpy as np

SAMPLE_RATE = 16000


class MetricError(ValueError):
    """A score that cannot be computed for these signals; the message says why."""


def pesq_wb(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Wide-band PESQ (ITU-T P.862.2), from about 1.0 to 4.64.

    The C code of the ``pesq`` package overruns fixed arrays on long recordings with many pauses; give it single
    utterances.

    Args:
        reference, estimate: float samples, shape ``[N]``, equally long.

    Raises:
        MetricError: if the lengths differ, a value is not finite, or PESQ finds no speech.
    """
    import pesq

    _check(reference, estimate)
    try:
        return float(pesq.pesq(SAMPLE_RATE, reference, estimate, "wb"))
    except (pesq.PesqError, ValueError) as error:
        raise MetricError(f"PESQ: {error}") from None


def stoi(reference: np.ndarray, estimate: np.ndarray, extended: bool = False) -> float:
    """Short-time objective intelligibility (Taal et al. 2011) or its extended form (Jensen & Taal 2016)."""
    import pystoi

    _check(reference, estimate)
    return float(pystoi.stoi(reference, estimate, SAMPLE_RATE, extended=extended))


def level_difference(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Level of the estimate above the reference's, in dB, both without their constant offset.

    A recording's DC offset cannot be heard, and no mel carries it.

    Raises:
        MetricError: if one of them is digital silence.
    """
    _check(reference, estimate)
    levels = [float(np.var(signal, dtype=np.float64)) for signal in (estimate, reference)]
    if min(levels) == 0:
        raise MetricError("level difference: expected two signals; got digital silence")
    return 10 * math.log10(levels[0] / levels[1])


def log_mel_distance(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Mean absolute difference of the two log-mels (16 kHz, 80 bands, ln), in nat."""
    import torch

    from diffwave.config import MelConfig
    from diffwave.mel import MelSpectrogram

    _check(reference, estimate)
    front_end = MelSpectrogram(MelConfig(sample_rate=SAMPLE_RATE))
    whole = len(reference) // front_end.config.hop_length * front_end.config.hop_length
    pair = torch.from_numpy(np.stack([reference[:whole], estimate[:whole]]).astype(np.float32))
    mels = front_end(pair)
    return float((mels[0] - mels[1]).abs().mean())


def _check(reference: np.ndarray, estimate: np.ndarray) -> None:
    if reference.shape != estimate.shape or reference.ndim != 1:
        raise MetricError(f"expected two signals of one length; got shapes {reference.shape} and {estimate.shape}")
    if not (np.isfinite(reference).all() and np.isfinite(estimate).all()):
        raise MetricError("expected finite samples; got NaN or infinity")
