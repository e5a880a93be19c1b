"""Fundamental frequency and voicing by probabilistic YIN (Mauch & Dixon 2014, ``librosa.pyin``).

These are not the figures that papers compute with CREPE: compare them only with others of this definition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffwave.evaluation.perceptual import MetricError

SETTINGS = {"fmin": 50.0, "fmax": 550.0, "frame_length": 1024, "hop_length": 160}


@dataclass(frozen=True, eq=False)
class Pitch:
    """A pitch track, one value every 10 ms.

    Args:
        f0: in Hz, NaN where there is none, shape ``[F]``.
        voiced: whether the frame is voiced, shape ``[F]``.
        probability: of being voiced, shape ``[F]``.
    """

    f0: np.ndarray
    voiced: np.ndarray
    probability: np.ndarray


def track(wav: np.ndarray, sample_rate: int) -> Pitch:
    """Pitch of ``[N]``.

    Raises:
        MetricError: if the signal is shorter than a frame.
    """
    import librosa

    if len(wav) < SETTINGS["frame_length"]:
        raise MetricError(f"pitch: expected at least {SETTINGS['frame_length']} samples; got {len(wav)}")
    f0, voiced, probability = librosa.pyin(
        wav.astype(np.float64),
        sr=sample_rate,
        fmin=SETTINGS["fmin"],
        fmax=SETTINGS["fmax"],
        frame_length=int(SETTINGS["frame_length"]),
        hop_length=int(SETTINGS["hop_length"]),
    )
    return Pitch(f0, voiced, probability)


def f0_rmse(reference: Pitch, estimate: Pitch) -> float:
    """Root mean square difference of pitch in cents, over frames that are voiced in both.

    Raises:
        MetricError: if there is no such frame.
    """
    both = reference.voiced & estimate.voiced
    if not both.any():
        raise MetricError("F0: expected voiced speech in both signals; no frame is voiced in both")
    cents = 1200 * np.log2(estimate.f0[both] / reference.f0[both])
    return float(np.sqrt(np.mean(cents**2)))


def voicing_f1(reference: Pitch, estimate: Pitch) -> float:
    """F1 score of the decision "voiced", the reference's taken as truth.

    Raises:
        MetricError: if neither signal has a voiced frame.
    """
    agreed = int((reference.voiced & estimate.voiced).sum())
    claimed = int(reference.voiced.sum() + estimate.voiced.sum())
    if claimed == 0:
        raise MetricError("voicing: expected voiced speech; no frame is voiced in either signal")
    return 2 * agreed / claimed


def periodicity_rmse(reference: Pitch, estimate: Pitch) -> float:
    """Root mean square difference of the probability of voicing."""
    return float(np.sqrt(np.mean((reference.probability - estimate.probability) ** 2)))
