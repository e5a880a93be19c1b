"""Pitch scores on signals whose pitch is known."""

from __future__ import annotations

import numpy as np
import pytest

from diffwave.evaluation.perceptual import MetricError
from diffwave.evaluation.pitch import Pitch, f0_rmse, periodicity_rmse, track, voicing_f1

RATE = 16000


def buzz(frequency: float, seconds: float = 0.5) -> np.ndarray:
    """Harmonics of a pitch, as a voice has them."""
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.1 * sum(np.sin(2 * np.pi * frequency * k * time) / k for k in range(1, 9))).astype(np.float32)


def pitch(f0: list[float]) -> Pitch:
    values = np.array(f0)
    return Pitch(values, ~np.isnan(values), (~np.isnan(values)).astype(float))


def test_the_pitch_of_a_buzz_is_found():
    found = track(buzz(150), RATE)
    middle = slice(5, -5)
    assert found.voiced[middle].all()
    assert found.f0[middle] == pytest.approx(150, rel=0.01)


def test_a_semitone_is_a_hundred_cents():
    assert f0_rmse(track(buzz(150), RATE), track(buzz(150 * 2 ** (1 / 12)), RATE)) == pytest.approx(100, abs=12)


def test_scores_of_known_tracks():
    a, b = pitch([100, 200, np.nan, 100]), pitch([200, 200, 100, np.nan])
    assert f0_rmse(a, b) == pytest.approx(1200 / np.sqrt(2))
    assert voicing_f1(a, b) == pytest.approx(2 * 2 / (3 + 3))
    assert periodicity_rmse(a, b) == pytest.approx(np.sqrt(2 / 4))


def test_no_voice_is_no_score():
    silent, voiced = pitch([np.nan] * 3), pitch([100.0] * 3)
    with pytest.raises(MetricError, match="voiced in both"):
        f0_rmse(silent, voiced)
    with pytest.raises(MetricError, match="either"):
        voicing_f1(silent, silent)
    assert voicing_f1(silent, voiced) == 0


def test_less_than_a_frame_is_refused():
    with pytest.raises(MetricError, match="1024 samples"):
        track(np.zeros(1023, np.float32), RATE)
