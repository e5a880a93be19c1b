"""Scores that model a listener: PESQ and STOI. Both take the reference first, at 16 kHz."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from diffwave.errors import UserError
from diffwave.evaluation.speech_bursts import count_bursts

SAMPLE_RATE = 16000
# P.862's C code has arrays for 50 speech bursts and does not look whether there are more: beyond it returns numbers
# over overwritten memory, or ends the process. Some bursts are kept in hand, since its own count comes after filters.
MOST_BURSTS = 45


class MetricError(UserError, ValueError):
    """A score that cannot be computed for these signals; the message says why."""


def pesq_wb(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Wide-band PESQ (ITU-T P.862.2), from about 1.0 to 4.64.

    Args:
        reference, estimate: float samples, shape ``[N]``, equally long.

    Raises:
        MetricError: if the lengths differ, a value is not finite, PESQ finds no speech, or there are more speech
            bursts than it has room for.
    """
    import pesq

    check(reference, estimate)
    if not reference.any() or not estimate.any():
        raise MetricError("PESQ: expected speech; got digital silence")
    bursts = count_bursts(reference, SAMPLE_RATE)
    if bursts > MOST_BURSTS:
        raise MetricError(f"PESQ: expected at most {MOST_BURSTS} speech bursts; got {bursts} - score shorter pieces")
    try:
        return float(pesq.pesq(SAMPLE_RATE, reference, estimate, "wb"))
    except (pesq.PesqError, ValueError) as error:
        words = error.args[0] if error.args else type(error).__name__
        raise MetricError(f"PESQ: {words.decode() if isinstance(words, bytes) else words}") from None


def stoi(reference: np.ndarray, estimate: np.ndarray, extended: bool = False) -> float:
    """Short-time objective intelligibility (Taal et al. 2011) or its extended form (Jensen & Taal 2016).

    Raises:
        MetricError: if the lengths differ, a value is not finite, or less than 30 frames (.4 s) hold speech.
    """
    import pystoi

    check(reference, estimate)
    if not reference.any():
        raise MetricError("STOI: expected speech in the reference; got digital silence")
    try:
        with warnings.catch_warnings():
            # Where frames do not suffice pystoi warns and returns 1e-5, which is no score.
            warnings.simplefilter("error", RuntimeWarning)
            value = _with_fixed_noise(lambda: float(pystoi.stoi(reference, estimate, SAMPLE_RATE, extended=extended)))
    except (RuntimeWarning, ValueError, IndexError) as error:
        raise MetricError(f"STOI: {str(error).split('.')[0][:120]}") from None
    if not np.isfinite(value):
        raise MetricError("STOI: expected speech in both signals; the score is not a number")
    return value


def _with_fixed_noise(function: Callable[[], float]) -> float:
    """The extended form adds noise of 1e-16 from numpy's global generator: seed it, so that digits stay the same."""
    state = np.random.get_state()  # noqa: NPY002  (pystoi draws from the old generator)
    np.random.seed(0)  # noqa: NPY002
    try:
        return function()
    finally:
        np.random.set_state(state)  # noqa: NPY002


def check(reference: np.ndarray, estimate: np.ndarray) -> None:
    """Refuse what no metric can compare.

    Raises:
        MetricError: if the lengths differ or a value is not finite.
    """
    if reference.shape != estimate.shape or reference.ndim != 1:
        raise MetricError(f"expected two signals of one length; got shapes {reference.shape} and {estimate.shape}")
    if not (np.isfinite(reference).all() and np.isfinite(estimate).all()):
        raise MetricError("expected finite samples; got NaN or infinity")
