from __future__ import annotations

import math
from pathlib import Path

import pytest
import soundfile
import torch

from diffwave.config import DiffusionConfig, MelConfig, mel_preset
from diffwave.diffusion import SpectralPrior, StandardPrior
from diffwave.mel.prior import make_prior
from diffwave.mel.spectrogram import MelSpectrogram

SPECTRAL = DiffusionConfig(prior="spectral")
FULL = DiffusionConfig(prior="spectral", prior_exponent=1.0)
SPEECH = Path(__file__).parents[1] / "data" / "403-126855-0000.flac"
MELS = {
    "hop": MelConfig(),
    "centre": MelConfig(framing="centre"),
    "log10": mel_preset("speecht5-16k"),
    "hop 200": MelConfig(n_fft=800, win_length=800, hop_length=200),
    "odd hop": MelConfig(n_fft=1024, win_length=1024, hop_length=225),
}


def speech(config: MelConfig) -> torch.Tensor:
    wav, _ = soundfile.read(SPEECH, dtype="float32")
    return torch.from_numpy(wav[: len(wav) // config.hop_length * config.hop_length]).unsqueeze(0)


@pytest.mark.parametrize("config", MELS.values(), ids=MELS)
def test_colour_undoes_whiten_on_speech(config: MelConfig) -> None:
    front_end, wav = MelSpectrogram(config), speech(config)
    prior = make_prior(SPECTRAL, front_end, front_end(wav))
    error = prior.color(prior.whiten(wav)) - wav
    # 20 to 27 dB, by how finely the frames resolve the envelope of this low voice.
    assert float(error.square().mean() / wav.square().mean()) < 10**-1.9


@pytest.mark.parametrize("config", MELS.values(), ids=MELS)
def test_whitened_speech_has_about_unit_variance(config: MelConfig) -> None:
    front_end, wav = MelSpectrogram(config), speech(config)
    whitened = make_prior(SPECTRAL, front_end, front_end(wav)).whiten(wav)[0]
    assert 0.5 < float(whitened.std()) < 2
    # Loud and soft tenths of the utterance differ by far more before than after.
    before, after = (
        torch.stack([part.std() for part in signal.chunk(10)]).log().std() for signal in (wav[0], whitened)
    )
    assert float(after) < 0.45 * float(before)


@pytest.mark.parametrize("amplitude", [0.001, 0.02, 0.5])
@pytest.mark.parametrize("framing", ["hop", "centre"])
def test_white_noise_is_scaled_to_unit_variance(amplitude: float, framing: str) -> None:
    # With exponent 1 the filter divides by the amplitude of the noise: the closed form of the prior's unit.
    front_end = MelSpectrogram(MelConfig(framing=framing))
    noise = amplitude * torch.randn(1, 256 * 400, generator=torch.Generator().manual_seed(0))
    mel = front_end(noise).mean(dim=-1, keepdim=True).exp()  # close to the mean magnitude of each band
    mean = (front_end.filterbank @ torch.ones(513, 1))[None] * amplitude * (torch.pi * 384 / 4) ** 0.5
    assert float((mel / mean).log().abs().mean()) < 0.25
    whitened = make_prior(FULL, front_end, mean.log().expand(-1, -1, 400)).whiten(noise)
    assert float(whitened.std()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("exponent", [0.5, 0.75, 1.0])
def test_the_exponent_and_the_level_of_a_flat_mel(exponent: float) -> None:
    # A flat envelope of amplitude a is the gain level * (a / level) ** exponent.
    front_end, amplitude, level = MelSpectrogram(MelConfig()), 0.08, 0.005
    mel = (front_end.filterbank @ torch.full((513, 20), amplitude * (torch.pi * 384 / 4) ** 0.5)).log()[None]
    config = DiffusionConfig(prior="spectral", prior_exponent=exponent, prior_level=level)
    prior = make_prior(config, front_end, mel)
    noise = torch.randn(1, 256 * 20, generator=torch.Generator().manual_seed(0))
    gain = level * (amplitude / level) ** exponent
    torch.testing.assert_close(prior.color(noise), gain * noise, rtol=1e-3, atol=1e-6)


def test_the_floor_bounds_the_gain_of_silence() -> None:
    front_end = MelSpectrogram(MelConfig())
    config = DiffusionConfig(prior="spectral", prior_floor=1e-3, prior_exponent=1.0)
    prior = make_prior(config, front_end, front_end(torch.zeros(1, 256 * 20)))
    noise = torch.randn(1, 256 * 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(prior.color(noise), 1e-3 * noise, rtol=0, atol=1e-7)


@pytest.mark.parametrize("framing", ["hop", "centre"])
def test_the_envelope_sits_where_the_mel_has_its_frames(framing: str) -> None:
    # Loudness that rises exponentially: at a frame of the filter the gain is that of its own centre, exactly.
    front_end = MelSpectrogram(MelConfig(framing=framing))
    flat = (front_end.filterbank @ torch.full((513, 40), (torch.pi * 384 / 4) ** 0.5))[None]
    rise = 0.1
    prior = make_prior(FULL, front_end, flat.log() + math.log(0.01) + rise * torch.arange(40))
    assert isinstance(prior, SpectralPrior)
    gain = prior.envelope[0, 100].log()  # [2 F], at half the hop
    first = {"hop": 128, "centre": 0}[framing]  # where the mel's first frame is centred
    half = {"hop": 64, "centre": 0}[framing]
    place = torch.arange(80) * 128 + half
    frame = ((place - first) / 256).clamp(0, 39)
    torch.testing.assert_close(gain, math.log(0.01) + rise * frame, rtol=0, atol=1e-4)


def test_examples_of_a_batch_have_their_own_prior() -> None:
    front_end = MelSpectrogram(MelConfig())
    wav = speech(MelConfig())
    both = torch.cat([wav, 0.1 * wav.flip(1)])
    mels = front_end(both)
    together = make_prior(SPECTRAL, front_end, mels).whiten(both)
    alone = make_prior(SPECTRAL, front_end, mels[1:]).whiten(both[1:])
    torch.testing.assert_close(together[1:], alone, rtol=1e-5, atol=1e-5)


def test_the_standard_prior_is_the_identity() -> None:
    front_end, wav = MelSpectrogram(MelConfig()), speech(MelConfig())
    prior = make_prior(DiffusionConfig(), front_end, front_end(wav))
    assert isinstance(prior, StandardPrior)
    assert torch.equal(prior.color(wav), wav)


ENERGY = DiffusionConfig(prior="energy", prior_exponent=1.0)


@pytest.mark.parametrize("config", MELS.values(), ids=MELS)
def test_the_energy_prior_gives_speech_unit_variance_and_takes_it_back(config: MelConfig) -> None:
    front_end, wav = MelSpectrogram(config), speech(config)
    prior = make_prior(ENERGY, front_end, front_end(wav))
    whitened = prior.whiten(wav)
    torch.testing.assert_close(prior.color(whitened), wav, rtol=1e-6, atol=0)
    if config.f_min > 0:
        return  # what lies below the lowest band of this recording is not in the mel, nor in its energy
    assert 0.7 < float(whitened.std()) < 1.3
    tenths = torch.stack([part.std() for part in whitened[0].chunk(10)])
    assert float(tenths.log().abs().max()) < 0.5


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_the_gain_of_the_energy_prior_is_the_root_mean_square_of_the_envelope(exponent: float) -> None:
    # A spectrum with amplitude a below 4 kHz and b above has the energy of their squares' mean.
    front_end, level = MelSpectrogram(MelConfig()), 0.005
    amplitude = torch.where(torch.arange(513) < 256, 0.08, 0.02)[:, None].expand(-1, 20)
    mel = (front_end.filterbank @ amplitude * (torch.pi * 384 / 4) ** 0.5).log()[None]
    prior = make_prior(DiffusionConfig(prior="energy", prior_exponent=exponent), front_end, mel)
    energy = float(amplitude[:, 0].square().mean().sqrt())
    gain = prior.color(torch.ones(1, 256 * 20))
    torch.testing.assert_close(gain, torch.full_like(gain, level * (energy / level) ** exponent), rtol=0.02, atol=0)


@pytest.mark.parametrize("framing", ["hop", "centre"])
def test_the_energy_prior_is_as_loud_as_each_frame_at_its_centre(framing: str) -> None:
    front_end = MelSpectrogram(MelConfig(framing=framing))
    flat = (front_end.filterbank @ torch.full((513, 40), (torch.pi * 384 / 4) ** 0.5))[None]
    prior = make_prior(ENERGY, front_end, flat.log() + math.log(0.01) + 0.1 * torch.arange(40))
    gain = prior.color(torch.ones(1, 256 * 40))[0].log()
    first = {"hop": 128, "centre": 0}[framing]
    place = ((torch.arange(256 * 40) - first) / 256).clamp(0, 39)
    # Within half a sample of 256.
    torch.testing.assert_close(gain, math.log(0.01) + 0.1 * place, rtol=0, atol=1e-3)
