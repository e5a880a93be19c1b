"""Errors weigh as they are heard: by critical bands and by level, and by nothing else."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from diffwave.config import ConfigError, DiffusionConfig, MelConfig, OptimizationConfig
from diffwave.dsp.stft import FrameGeometry
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.training.loss.spectral_loss import Weights, critical_band_density, loudness_weights, weighted_square

CONTEXT, SAMPLES = 2048, 8192
SPECTRAL = DiffusionConfig(prior="spectral")


def noise(level: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return level * torch.randn(1, SAMPLES + 2 * CONTEXT, generator=generator)


def tone(frequency: float) -> Tensor:
    return torch.sin(2 * math.pi * frequency / 16000 * torch.arange(SAMPLES)).unsqueeze(0)


def weights(wav: Tensor, config: DiffusionConfig = SPECTRAL) -> Weights:
    front_end = MelSpectrogram(MelConfig())
    return loudness_weights(config, front_end, front_end(wav))


@pytest.mark.parametrize(("frequency", "bandwidth"), [(100.0, 100.0), (1000.0, 160.0), (4000.0, 700.0)])
def test_critical_bands_are_those_of_the_tables(frequency: float, bandwidth: float) -> None:
    """Zwicker & Fastl, table 6.1, rounded as it is."""
    assert 1 / float(critical_band_density(torch.tensor(frequency))) == pytest.approx(bandwidth, rel=0.05)


def test_equal_weights_give_the_mean_square() -> None:
    error = noise(1.0)[:, :SAMPLES]
    geometry = FrameGeometry(512, 128, 512)
    ones = Weights(torch.ones(1, 257, (SAMPLES + 2 * CONTEXT) // 128), geometry)
    assert float(weighted_square(error, ones, CONTEXT)) == pytest.approx(float(error.square().mean()), rel=0.03)


def test_an_error_weighs_by_the_critical_bands_at_its_frequency() -> None:
    """Noise of the same density at all frequencies: what is left of the weights is the density of the bands."""
    known = weights(noise(0.05))
    low, high = (float(weighted_square(tone(f), known, CONTEXT)) for f in (500.0, 5000.0))
    expected = critical_band_density(torch.tensor([500.0, 5000.0]))
    assert low / high == pytest.approx(float(expected[0] / expected[1]), rel=0.15)


@pytest.mark.parametrize(
    ("prior", "exponent"), [("spectral", 0.75 - 1 + 0.46), ("energy", 0.75 - 1 + 0.46), ("standard", -1 + 0.46)]
)
def test_an_error_weighs_by_the_level_around_it(prior: str, exponent: float) -> None:
    config = dataclasses.replace(SPECTRAL, prior=prior, prior_exponent=0.75)
    soft, loud = (weights(noise(level), config).values.mean() for level in (0.02, 0.08))
    assert float(loud / soft) == pytest.approx(4 ** (2 * exponent), rel=0.02)


def test_only_squares_are_weighted() -> None:
    with pytest.raises(ConfigError, match=r"loudness weights squared errors; expected train.loss=l2; got l1"):
        OptimizationConfig(error_weighting="loudness", loss="l1")
