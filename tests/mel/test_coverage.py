"""What lies outside the bands: covered once, silent enough, and where nothing does, nothing changes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from diffwave.config import CONVENTIONS, MelConfig, mel_preset
from diffwave.mel.baseline import mel_consistency
from diffwave.mel.coverage import cover
from diffwave.mel.spectrogram import MelSpectrogram, bin_frequencies, mel_filterbank

RECORDINGS = sorted((Path(__file__).parents[1] / "data").glob("*.flac"))
PARTIAL = [
    *(mel_preset(name) for name in ("speecht5-16k", "espnet-24k", "hifigan-22k", "cosyvoice2-24k")),
    MelConfig(f_min=300, f_max=5000),
    MelConfig(f_min=300, f_max=5000, mel_scale="htk", mel_norm="none"),
    MelConfig(f_min=120, spectrum="power"),
]


@pytest.mark.parametrize("config", PARTIAL, ids=MelConfig.describe)
def test_every_bin_is_covered_once(config: MelConfig) -> None:
    coverage, inner = cover(config), mel_filterbank(config)
    assert coverage.filterbank.shape[0] == config.n_mels + (coverage.below is not None) + (coverage.above is not None)
    assert (coverage.below is not None) == (config.f_min > 0)
    first = coverage.below is not None
    assert torch.equal(coverage.filterbank[first : first + config.n_mels], inner)
    # Triangles of equal height add up to 1 between the first top and the last one; so they do beyond them now.
    heights = coverage.filterbank.amax(dim=1) if config.mel_norm == "none" else coverage.filterbank.sum(dim=1)
    assert bool((heights > 0).all())
    bins = bin_frequencies(config)
    inside = (bins > 0) & (bins < config.sample_rate / 2)
    assert bool((coverage.filterbank.sum(dim=0)[inside] > 0).all())
    if config.mel_norm == "none":
        torch.testing.assert_close(coverage.filterbank.sum(dim=0)[inside], torch.ones(int(inside.sum())))


WHOLE = [name for name, convention in CONVENTIONS.items() if convention.mel.f_max == convention.mel.sample_rate / 2]


@pytest.mark.parametrize("name", [name for name in WHOLE if mel_preset(name).f_min < 21])
def test_where_bands_cover_everything_nothing_is_added(name: str) -> None:
    config = mel_preset(name)
    coverage, goal = cover(config), torch.zeros(1, 3, config.n_mels)
    assert torch.equal(coverage.filterbank, mel_filterbank(config))
    assert coverage.complete(goal) is goal


def test_what_lies_beyond_is_softer_than_its_neighbour_by_the_same_everywhere() -> None:
    config = MelConfig(f_min=300, f_max=5000)
    coverage = cover(config)
    goal = torch.randn(2, 5, 80, generator=torch.Generator().manual_seed(0))
    completed = coverage.complete(goal)
    assert torch.equal(completed[..., 1:-1], goal)
    # Mean magnitudes: of sums, without what wider bands add up.
    means = completed - coverage.filterbank.sum(dim=1).log()
    torch.testing.assert_close(means[..., 0], means[..., 1] - 2)
    torch.testing.assert_close(means[..., -1], means[..., -2] - 0.1 - 1.2 * math.log2(8 / 5))


def energy(wav: Tensor, low: float, high: float) -> float:
    hertz = np.fft.rfftfreq(len(wav), 1 / 16000)
    power: np.ndarray = np.abs(np.fft.rfft(wav.numpy())) ** 2
    return float(power[(hertz >= low) & (hertz < high)].sum())


@pytest.fixture(scope="module", params=RECORDINGS, ids=lambda path: path.stem)
def recording(request: pytest.FixtureRequest) -> Tensor:
    wav, _ = soundfile.read(request.param, dtype="float32")
    return torch.from_numpy(wav[: len(wav) // 256 * 256])


@pytest.fixture(scope="module")
def spoken(recording: Tensor) -> Tensor:
    front_end = MelSpectrogram(mel_preset("speecht5-16k"))
    return mel_consistency(front_end, front_end(recording[None])[0], 60)


def test_no_noise_stays_below_the_bands_or_above(recording: Tensor, spoken: Tensor) -> None:
    assert energy(spoken, 0, 60) < 0.005 * energy(spoken, 0, 8000)
    assert energy(spoken, 7700, 8000) < energy(recording, 7700, 8000)


def test_the_outermost_bands_are_about_as_loud_as_they_were(recording: Tensor, spoken: Tensor) -> None:
    # A mel of 0 to 8000 Hz is 3.6 dB from it itself, with the harmonics of the first of the two.
    assert abs(10 * math.log10(energy(spoken, 80, 100) / energy(recording, 80, 100))) < 5.5
    assert abs(10 * math.log10(energy(spoken, 7300, 7500) / energy(recording, 7300, 7500))) < 2


def test_it_sounds_as_speech_does(recording: Tensor, spoken: Tensor) -> None:
    pesq = pytest.importorskip("pesq").pesq
    # Noise below 60 Hz took it to 1.98 in the mean.
    assert pesq(16000, recording.numpy(), spoken.numpy(), "wb") > 2.5
