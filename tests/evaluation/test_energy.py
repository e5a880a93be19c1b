"""Energy by band and in pauses against closed forms, and where there is none to compare."""

from __future__ import annotations

import math

import librosa
import numpy as np
import pytest

from diffwave.evaluation import spectral
from diffwave.evaluation.energy import BANDS, band_bias, frame_energies, quiet_frames, silence_difference, speech_frames
from diffwave.evaluation.metrics import FULL, Signals, choose
from diffwave.evaluation.pairs import Pair
from diffwave.evaluation.perceptual import MetricError
from diffwave.evaluation.run import mel_filters
from diffwave.evaluation.scoring import Loading
from diffwave.evaluation.workers import WorkerSettings, run_here, run_workers

RATE = 16000
NAMES = ("bias_low", "bias_mid", "bias_high", "silence")
FILTERS = mel_filters()


def scores(reference: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    signals = Signals(reference, estimate.astype(np.float32), FILTERS)
    return {metric.name: metric.compute(signals) for metric in choose(NAMES)}


def hiss(samples: int, level: float, seed: int = 0) -> np.ndarray:
    """White noise of a level in dB re full scale."""
    return (10 ** (level / 20) * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.fixture
def paused(clips) -> tuple[np.ndarray, slice]:
    """Speech, a pause of two seconds with noise at -70 dB, speech; and where the pause is."""
    pause = slice(len(clips[1]), len(clips[1]) + 2 * RATE)
    return np.concatenate([clips[1], hiss(2 * RATE, -70), clips[1]]), pause


def test_a_recording_against_itself_is_zero(clips):
    for clip in clips:
        assert scores(clip, clip) == dict.fromkeys(NAMES, 0.0)


@pytest.mark.parametrize("gain", [0.1, 0.5, -1.0, 3.0])
def test_a_gain_is_its_logarithm(gain, clips):
    for clip in clips:
        found = scores(clip, np.float32(gain) * clip)
        assert [found[name] for name in NAMES[:3]] == pytest.approx([math.log(abs(gain))] * 3, abs=1e-5)
        assert found["silence"] == pytest.approx(20 * math.log10(abs(gain)), abs=1e-4)


@pytest.mark.parametrize("level", [-80, -70, -60, -50])
def test_noise_in_pauses_is_heard_there_and_nowhere_else(level, paused):
    reference, pause = paused
    estimate = reference.copy()
    estimate[pause] += hiss(2 * RATE, level, seed=1)
    found = scores(reference, estimate)
    assert found["silence"] == pytest.approx(10 * math.log10(1 + 10 ** ((level + 70) / 10)), abs=0.3)
    # Of the frames with speech only those at the edges, a few in hundreds, overlap with the pause.
    assert all(abs(found[name]) < 0.02 for name in NAMES[:3])


def test_a_low_pass_moves_the_high_bands_only(clips):
    spectrum = np.fft.rfft(clips[1])
    spectrum[np.fft.rfftfreq(len(clips[1]), 1 / RATE) > 4000] *= 0.5
    found = scores(clips[1], np.fft.irfft(spectrum, len(clips[1])))
    assert found["bias_low"] == pytest.approx(0, abs=1e-3)
    # The filters on both sides of 4 kHz overlap: the last of 36 middle bands and the first of 18 high ones have a part.
    assert found["bias_mid"] == pytest.approx(0, abs=0.02)
    assert found["bias_high"] == pytest.approx(math.log(0.5), abs=0.03)


@pytest.mark.parametrize("pole", [0.0, 0.98])
def test_another_realisation_of_the_same_noise_is_as_loud(pole, clips):
    """White noise, and a rumble whose frames differ by several dB from each other."""
    import scipy.signal

    speech = np.tile(np.concatenate([clips[0], np.zeros(RATE, np.float32)]), 4)
    found = []
    for seed in range(5):
        sides = [scipy.signal.lfilter([1 - pole], [1, -pole], hiss(len(speech), -50, 2 * seed + i)) for i in (0, 1)]
        reference, estimate = ((speech + side).astype(np.float32) for side in sides)
        found.append(scores(reference, estimate)["silence"])
    assert np.mean(found) == pytest.approx(0, abs=0.25)


def test_digital_silence_in_pauses_counts_as_100_db_below_full_scale(paused):
    reference, pause = paused
    silent = reference.copy()
    silent[pause] = 0
    loud = silent.copy()
    loud[pause] = hiss(2 * RATE, -60)
    assert scores(silent, loud)["silence"] == pytest.approx(40, abs=0.3)
    assert scores(silent, silent)["silence"] == 0
    assert scores(reference, silent)["silence"] == pytest.approx(-30, abs=0.5)


def test_an_estimate_of_digital_silence_has_finite_scores(clips):
    found = scores(clips[0], np.zeros_like(clips[0]))
    assert all(np.isfinite(value) and value < 0 for value in found.values())


def test_a_reference_of_digital_silence_is_refused(clips):
    energies = frame_energies(np.zeros_like(clips[0]), clips[0], FILTERS)
    with pytest.raises(MetricError, match="silent"):
        band_bias(energies, "low")
    with pytest.raises(MetricError, match="5 quiet frames"):
        silence_difference(energies)


def test_what_the_mel_does_not_tell_is_not_held_against_a_vocoder(clips):
    """A recording with nothing above 4 kHz, and an estimate that has noise below the mel's floor there."""
    spectrum = np.fft.rfft(clips[0])
    spectrum[np.fft.rfftfreq(len(clips[0]), 1 / RATE) > 3900] = 0
    narrow = np.fft.irfft(spectrum, len(clips[0])).astype(np.float32)
    energies = frame_energies(narrow, narrow + hiss(len(narrow), -110), FILTERS)
    # The high band's first filter begins below 4 kHz; frames at the ends hold the reflection's corner.
    assert energies.cells[2:-2, 2].max() == 1
    assert band_bias(energies, "mid") == pytest.approx(0, abs=0.001)
    assert band_bias(energies, "high") == pytest.approx(0, abs=0.03)


def test_an_offset_is_not_a_level(paused):
    reference, _ = paused
    assert scores(reference, reference + np.float32(0.01))["silence"] == pytest.approx(0, abs=1e-3)
    assert scores(reference + np.float32(0.01), reference)["silence"] == pytest.approx(0, abs=1e-3)


def test_levels_are_those_of_the_samples():
    noise = hiss(RATE, -30)
    level = 10 * np.log10(frame_energies(noise, noise, FILTERS).reference.mean())
    assert level == pytest.approx(-30, abs=0.1)


def test_a_steady_sound_has_no_pauses_but_energy():
    noise = hiss(RATE, -30)
    energies = frame_energies(noise, np.float32(0.5) * noise, FILTERS)
    assert band_bias(energies, "mid") == pytest.approx(math.log(0.5), abs=1e-5)
    with pytest.raises(MetricError, match="10 dB below"):
        silence_difference(energies)


def test_speech_is_not_quiet(clips):
    power = frame_energies(clips[1], clips[1], FILTERS).reference
    assert not (speech_frames(power) & quiet_frames(power)).any()
    assert quiet_frames(power).mean() >= 0.1
    assert speech_frames(power).mean() > 0.5


def test_signals_that_are_too_short_are_refused(clips):
    with pytest.raises(MetricError, match="256 samples; got 255"):
        frame_energies(clips[0][:255], clips[0][:255], FILTERS)
    short = clips[0][8000:8256]
    energies = frame_energies(short, np.float32(0.5) * short, FILTERS)
    assert band_bias(energies, "low") == pytest.approx(math.log(0.5), abs=1e-5)
    with pytest.raises(MetricError, match="got 0"):
        silence_difference(energies)
    with pytest.raises(MetricError, match="one length"):
        frame_energies(clips[0], clips[0][:-1], FILTERS)


def test_bands_have_their_centres_where_they_say():
    centres = librosa.mel_frequencies(spectral.MEL.n_mels + 2, fmin=0, fmax=8000)[1:-1]
    for (low, high), band in zip(((0, 1000), (1000, 4000), (4000, 8000)), BANDS.values(), strict=True):
        assert np.array_equal(np.flatnonzero((centres >= low) & (centres < high)), np.arange(80)[band])


def test_blocks_do_not_change_them(clips, noisy, monkeypatch):
    expected = scores(clips[0], noisy(clips[0]))
    monkeypatch.setattr(spectral, "_BLOCK", 17)
    assert scores(clips[0], noisy(clips[0])) == pytest.approx(expected, abs=1e-6)


def test_workers_give_the_same_and_leave_a_cell_empty_with_its_reason(clips, noisy, write, tmp_path):
    wavs = [(clips[0], noisy(clips[0])), (hiss(RATE, -30), hiss(RATE, -30, 1))]
    jobs = []
    for row, sides in enumerate(wavs):
        paths = [write(tmp_path / f"{row}{name}.wav", wav) for name, wav in zip("re", sides, strict=True)]
        jobs.append((row, Pair("s", str(row), str(row), *paths)))
    settings = WorkerSettings(NAMES, FILTERS, Loading(), 60)
    here, there = (
        sorted(found, key=lambda o: o.row) for found in (run_here(jobs, settings), run_workers(jobs, settings, 2))
    )
    # Workers have one thread each, and sums of products depend on how many there are.
    for one, other in zip(here, there, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-6)
        assert (one.row, one.status, one.errors) == (other.row, other.status, other.errors)
    assert here[0].scores == pytest.approx(scores(*wavs[0]), abs=1e-6)
    assert set(here[1].scores) == set(NAMES[:3])
    assert "quiet frames" in here[1].errors["silence"]


def test_they_are_in_the_full_set():
    assert set(NAMES) <= set(FULL)
    assert not set(NAMES) & {metric.name for metric in choose(["default"])}
