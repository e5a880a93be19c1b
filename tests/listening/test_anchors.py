from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import freqz

from diffwave.listening.anchors import griffin_lim_anchor, low_pass, low_pass_filter, make_anchor, modulated_noise
from diffwave.listening.documents import ListeningError
from recordings import RATE, speech

RATES = [16000, 22050, 24000, 32000, 44100, 48000]


def response_db(name: str, rate: int) -> tuple[np.ndarray, np.ndarray]:
    frequencies, response = freqz(low_pass_filter(name, rate), worN=1 << 15, fs=rate)
    return frequencies, 20 * np.log10(np.abs(response) + 1e-9)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("name", "scale"), [("anchor35", 1), ("anchor70", 2)])
def test_low_pass_anchors_meet_bs1534(name: str, scale: int, rate: int) -> None:
    frequencies, level = response_db(name, rate)
    assert np.abs(level[frequencies <= 3500 * scale]).max() <= 0.1
    # At 16 kHz the 7 kHz anchor has nothing above 8 kHz.
    assert (level[frequencies >= 4000 * scale] <= -25).all()
    assert (level[frequencies >= 4500 * scale] <= -50).all()
    assert scale == 2 or (frequencies >= 4500).any()


@pytest.mark.parametrize("rate", RATES)
def test_the_filter_does_not_delay(rate: int) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    filtered = low_pass(tone, low_pass_filter("anchor35", rate))
    assert len(filtered) == len(tone)
    middle = slice(rate // 4, -rate // 4)
    np.testing.assert_allclose(filtered[middle], tone[middle], atol=2e-3)


def test_a_rate_without_a_stop_band_is_refused() -> None:
    with pytest.raises(ListeningError, match="anchor70: expected a sample rate of at least 16000 Hz; got 8000 Hz"):
        low_pass_filter("anchor70", 8000)


@pytest.mark.parametrize("rate", [16000, 22050])
def test_griffin_lim_keeps_length_and_spectrum(rate: int) -> None:
    wav = speech()[0] if rate == RATE else np.interp(np.arange(0, 12800, RATE / rate), np.arange(12800), speech()[0])
    output = griffin_lim_anchor(wav, rate)
    assert len(output) == len(wav)
    assert output.std() == pytest.approx(wav.std(), rel=0.2)
    # Its phase is made up.
    assert abs(np.corrcoef(output, wav)[0, 1]) < 0.9
    np.testing.assert_array_equal(output, griffin_lim_anchor(wav, rate))


def test_modulated_noise_is_as_strong_as_the_speech() -> None:
    wav = speech()[2]
    noise = modulated_noise(wav) - wav
    assert 10 * np.log10(np.mean(noise**2) / np.mean(wav**2)) == pytest.approx(0, abs=1e-9)
    # It follows the speech: silence stays silent.
    assert (make_anchor("mnru", np.zeros(10), RATE) == 0).all()
