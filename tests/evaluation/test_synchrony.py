"""Band synchrony hears made-up phases and nothing that a listener would forgive."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from diffwave.evaluation import synchrony as module
from diffwave.evaluation.perceptual import MetricError
from diffwave.evaluation.synchrony import synchrony, synchrony_difference

RATE = 16000


def random_phases(wav: np.ndarray) -> np.ndarray:
    """The magnitudes of a signal with phases that know nothing of each other."""
    _, _, spectrum = scipy.signal.stft(wav, RATE, nperseg=1024, noverlap=768)
    phase = np.random.default_rng(0).uniform(0, 2 * np.pi, spectrum.shape)
    _, result = scipy.signal.istft(np.abs(spectrum) * np.exp(1j * phase), RATE, nperseg=1024, noverlap=768)
    return result[: len(wav)].astype(np.float32)


def test_speech_has_it_and_random_phases_lose_it(clips):
    for clip in clips:
        assert synchrony(clip, RATE) > 0.3
        assert synchrony_difference(clip, random_phases(clip), RATE) < -0.2


def test_white_noise_has_none():
    noise = 0.1 * np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)
    # Windows of 4 ms are 1 kHz wide, so that neighbouring bands share a little of what is between them.
    assert abs(synchrony(noise, RATE)) < 0.1


@pytest.mark.parametrize("gain", [-1.0, 0.1, 2.0])
def test_gain_and_polarity_do_not_matter(gain, clips):
    assert synchrony_difference(clips[1], np.float32(gain) * clips[1], RATE) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("delay", [1, 7, 400])
def test_delay_does_not_matter(delay, clips):
    late = np.concatenate([np.zeros(delay, np.float32), clips[1][:-delay]])
    assert synchrony_difference(clips[1], late, RATE) == pytest.approx(0, abs=0.02)


def test_blocks_do_not_change_it(clips, monkeypatch):
    expected = synchrony(clips[0], RATE)
    monkeypatch.setattr(module, "_BLOCK", 333)
    assert synchrony(clips[0], RATE) == pytest.approx(expected, abs=1e-9)


def test_silence_and_short_sounds_are_refused(clips):
    for wav in (np.zeros(RATE, np.float32), clips[0][8000:9000]):
        with pytest.raises(MetricError, match=r"0\.1 s"):
            synchrony(wav, RATE)


def test_different_lengths_are_refused(clips):
    with pytest.raises(MetricError, match="one length"):
        synchrony_difference(clips[0], clips[0][:-1], RATE)
