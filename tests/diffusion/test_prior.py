from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffwave.diffusion import EnergyPrior, SpectralPrior, StandardPrior
from diffwave.dsp.stft import FrameGeometry, stft

GEOMETRIES = [FrameGeometry(512, 128, 512, "hop"), FrameGeometry(512, 128, 512, "centre")]


def white(samples: int = 128 * 60, examples: int = 2) -> Tensor:
    return torch.randn(examples, samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.framing)
def test_a_flat_envelope_scales_by_its_height(geometry: FrameGeometry) -> None:
    wav = white()
    prior = SpectralPrior(torch.full((2, 257, 60), 0.25), geometry)
    torch.testing.assert_close(prior.color(wav), 0.25 * wav, rtol=0, atol=2e-6)
    torch.testing.assert_close(prior.whiten(wav), 4 * wav, rtol=0, atol=3e-5)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.framing)
def test_coloured_noise_has_the_spectrum_of_the_envelope(geometry: FrameGeometry) -> None:
    # A smooth tilt of 40 dB: mean STFT magnitude of filtered over that of white noise is the envelope.
    envelope = torch.logspace(0, -2, 257)[None, :, None].expand(1, -1, 400)
    noise = white(128 * 400, 1)
    before = stft(noise, geometry).abs().mean(dim=-1)
    after = stft(SpectralPrior(envelope, geometry).color(noise), geometry).abs().mean(dim=-1)
    ratio = (after / before)[0] / envelope[0, :, 0]
    assert float(ratio[2:-2].log().abs().max()) < 0.05


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.framing)
def test_white_noise_survives_a_smooth_filter_there_and_back(geometry: FrameGeometry) -> None:
    envelope = torch.logspace(0, -2, 257)[None, :, None] * (1 + 0.5 * torch.sin(torch.arange(60) / 8))
    prior = SpectralPrior(envelope.expand(2, -1, -1), geometry)
    wav = white()
    error = prior.color(prior.whiten(wav)) - wav
    assert float(error.square().mean() / wav.square().mean()) < 1e-4


def test_filters_are_linear_and_treat_each_example_by_its_own_envelope() -> None:
    generator = torch.Generator().manual_seed(1)
    envelope = torch.rand(2, 257, 60, generator=generator) + 0.1
    prior, wav = SpectralPrior(envelope, GEOMETRIES[0]), white()
    torch.testing.assert_close(prior.color(3 * wav), 3 * prior.color(wav), rtol=1e-4, atol=1e-5)
    alone = SpectralPrior(envelope[1:], GEOMETRIES[0])
    torch.testing.assert_close(prior.whiten(wav)[1:], alone.whiten(wav[1:]))


def test_the_filter_has_zero_phase() -> None:
    # An impulse comes out symmetric around its place, at least away from the ends.
    wav = torch.zeros(1, 128 * 20)
    centre = 128 * 10
    wav[0, centre] = 1
    envelope = torch.logspace(0, -2, 257)[None, :, None].expand(1, -1, 20)
    out = SpectralPrior(envelope, GEOMETRIES[1]).color(wav)[0]
    torch.testing.assert_close(out[centre - 200 : centre], out[centre + 1 : centre + 201].flip(0), rtol=0, atol=1e-6)
    assert int(out.abs().argmax()) == centre


def test_the_energy_prior_is_exactly_invertible_and_has_the_deviation_that_it_says() -> None:
    # 80 dB between loud and soft: in float64 there and back is the identity to the last bits.
    gain = torch.logspace(0, -4, 128 * 60, dtype=torch.float64).expand(2, -1)
    prior, wav = EnergyPrior(gain), white().double()
    torch.testing.assert_close(prior.color(prior.whiten(wav)), wav, rtol=1e-15, atol=0)
    torch.testing.assert_close(prior.whiten(prior.color(wav)), wav, rtol=1e-15, atol=0)
    middle = slice(3000, 4600)
    ratio = prior.color(wav)[:, middle].std() / gain[:, middle].square().mean().sqrt()
    assert float(ratio) == pytest.approx(1, abs=0.05)


def test_the_standard_prior_changes_nothing() -> None:
    wav = white()
    assert torch.equal(StandardPrior().color(wav), wav)
    assert torch.equal(StandardPrior().whiten(wav), wav)
