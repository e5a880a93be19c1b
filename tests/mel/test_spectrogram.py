from __future__ import annotations

import math
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from diffwave.config import CONVENTIONS, MelConfig, mel_preset
from diffwave.mel.consistency import MelConsistency
from diffwave.mel.spectrogram import MelSpectrogram, mel_filterbank

PRESETS = sorted(CONVENTIONS)
LINEAR = [name for name in PRESETS if CONVENTIONS[name].mel.log != "db01"]
SPEECH = Path(__file__).parents[1] / "data" / "403-126855-0000.flac"


def speechlike(config: MelConfig, seconds: float = 1.5) -> torch.Tensor:
    """A gliding buzz with breath noise, bursts and digital silence, ``[1, N]``."""
    samples = int(seconds * config.sample_rate) // config.hop_length * config.hop_length
    time = np.arange(samples) / config.sample_rate
    rng = np.random.default_rng(0)
    phase = 2 * np.pi * np.cumsum(110 + 40 * np.sin(3 * time)) / config.sample_rate
    buzz = sum(np.sin(k * phase) / k for k in range(1, 30))
    loudness = np.clip(np.sin(2 * np.pi * 2.5 * time), 0, None)
    wav = 0.2 * loudness * buzz + 0.003 * rng.standard_normal(samples) * (1 + 5 * loudness)
    wav[samples // 3 : samples // 2] = 0
    return torch.from_numpy(wav.astype(np.float32)).unsqueeze(0)


def real_speech(config: MelConfig) -> torch.Tensor:
    wav, rate = soundfile.read(SPEECH, dtype="float32")
    if rate != config.sample_rate:
        wav = librosa.resample(wav, orig_sr=rate, target_sr=config.sample_rate)
    wav = wav[: len(wav) // config.hop_length * config.hop_length]
    return torch.from_numpy(wav).unsqueeze(0)


def filters(rate: int, low: float, high: float, htk: bool, norm: str | None, bands: int = 80) -> np.ndarray:
    return librosa.filters.mel(
        sr=rate, n_fft=1024, n_mels=bands, fmin=low, fmax=high, htk=htk, norm=norm, dtype=np.float64
    )


def magnitude(wav: np.ndarray, center: bool, hop: int = 256, window: int = 1024) -> np.ndarray:
    if not center:
        wav = np.pad(wav, (1024 - hop) // 2, mode="reflect")
    spectrum = librosa.stft(wav, n_fft=1024, hop_length=hop, win_length=window, center=center, pad_mode="reflect")
    return np.abs(spectrum)


def by_librosa(name: str, wav: np.ndarray) -> np.ndarray:
    """Each convention as the project that it comes from computes it."""
    if name == "default":
        return np.log(np.clip(filters(16000, 0, 8000, False, "slaney") @ magnitude(wav, False), 1e-5, None))
    if name == "10ms":
        bands = filters(16000, 0, 8000, False, "slaney", 100) @ magnitude(wav, False, 160, 640)
        return np.log(np.clip(bands, 1e-5, None))
    if name == "hifigan-22k":
        power = np.sqrt(magnitude(wav, False) ** 2 + 1e-9)
        return np.log(np.clip(filters(22050, 0, 8000, False, "slaney") @ power, 1e-5, None))
    if name == "lmnt-22k":
        window = np.hanning(1025)[:-1]
        mel = filters(22050, 20, 11025, True, None) @ (magnitude(wav, True) / np.sqrt((window**2).sum()))
        decibel = 20 * np.log10(np.clip(mel, 1e-5, None)) - 20
        return np.clip((decibel + 100) / 100, 0, 1)
    if name == "speechbrain-22k":
        return np.log(np.clip(filters(22050, 0, 8000, False, "slaney") @ magnitude(wav, True), 1e-5, None))
    assert name == "speecht5-16k"
    return np.log10(np.clip(filters(16000, 80, 7600, False, "slaney") @ magnitude(wav, True), 1e-10, None))


def front_end(name: str = "default") -> MelSpectrogram:
    return MelSpectrogram(mel_preset(name))


@pytest.mark.parametrize("make", [speechlike, real_speech])
@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_equals_librosa(name: str, make) -> None:
    config = mel_preset(name)
    wav = make(config)
    ours = front_end(name)(wav)[0].numpy()
    theirs = by_librosa(name, wav[0].double().numpy())[:, : ours.shape[1]]
    assert ours.shape == (config.n_mels, wav.shape[-1] // config.hop_length)
    np.testing.assert_allclose(ours, theirs, atol=2e-4)  # ours in float32, which shows in the quietest bands


@pytest.mark.parametrize("name", PRESETS)
def test_silence_lies_on_the_floor(name: str) -> None:
    mel = front_end(name)(torch.zeros(1, 20 * mel_preset(name).hop_length))
    expected = {
        "default": math.log(1e-5),
        "10ms": math.log(1e-5),
        # HiFi-GAN's epsilon keeps every bin above sqrt(1e-9); summed by the triangles that is above the floor
        # in no band narrower than a third of a bin, and in no other either: area 1 / bin width = .046.
        "hifigan-22k": math.log(1e-5),
        "lmnt-22k": 0.0,
        "speechbrain-22k": math.log(1e-5),
        "speecht5-16k": -10.0,
    }[name]
    torch.testing.assert_close(mel, torch.full_like(mel, expected), rtol=0, atol=1e-5)


def test_a_tone_shows_its_amplitude_in_its_band() -> None:
    # A sine on bin k has magnitudes A * 512 / 2 * (1/2, 1, 1/2) around k; the mel is their sum over triangles.
    config, k, amplitude = MelConfig(), 96, 0.5
    wav = amplitude * torch.sin(2 * math.pi * k / 1024 * torch.arange(256 * 20, dtype=torch.float64))
    mel = front_end()(wav.unsqueeze(0))[0, :, 10].exp().numpy()
    bank = filters(config.sample_rate, 0, 8000, False, "slaney")
    expected = amplitude * 256 * (bank[:, k] + 0.5 * bank[:, k - 1] + 0.5 * bank[:, k + 1])
    np.testing.assert_allclose(mel, np.clip(expected, 1e-5, None), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", PRESETS)
def test_expand_undoes_compress_between_its_limits(name: str) -> None:
    mel = front_end(name)
    magnitudes = torch.logspace(-3.9, 0.5, 80, dtype=torch.float64)[None, :, None]
    torch.testing.assert_close(mel.expand(mel.compress(magnitudes)), magnitudes, rtol=1e-10, atol=0)
    low, high = mel.limits()
    assert float(mel.compress(torch.zeros(1))) == pytest.approx(low, abs=1e-6)
    assert high > float(mel.compress(torch.tensor(1.0)))


@pytest.mark.parametrize("name", LINEAR)
def test_the_envelope_of_a_flat_spectrum_comes_back(name: str) -> None:
    mel = front_end(name)
    heights = torch.tensor([0.01, 1.0, 30.0])
    flat = heights.expand(513, 3)
    envelope = mel.envelope(mel.compress(mel.filterbank @ flat).unsqueeze(0))
    torch.testing.assert_close(envelope[0], flat, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", LINEAR)
def test_the_envelope_has_nearly_the_mel_it_was_made_from(name: str) -> None:
    mel = front_end(name)
    logs = mel(real_speech(mel.config))
    again = mel.compress(mel.filterbank @ mel.envelope(logs))
    nats = (again - logs) * (math.log(10) if mel.config.log == "log10" else 1)
    # Triangles smooth what triangles measured: a few tenths of a nat, without a bias.
    assert float(nats.abs().mean()) < 0.25
    assert abs(float(nats.mean())) < 0.15


def distance(mel: MelSpectrogram, wav: torch.Tensor, target: torch.Tensor) -> float:
    return float((mel(wav) - target).abs().mean())


@pytest.mark.parametrize("name", LINEAR)
def test_consistency_brings_noise_close_to_a_mel(name: str) -> None:
    mel = front_end(name)
    target = mel(real_speech(mel.config))
    noise = 0.05 * torch.randn(1, target.shape[-1] * mel.config.hop_length, generator=torch.Generator().manual_seed(0))
    push = MelConsistency(mel)
    unit = math.log(10) if mel.config.log == "log10" else 1.0
    distances = [unit * distance(mel, push(noise, target, count), target) for count in (0, 1, 3, 8, 20)]
    assert distances[0] > 1
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.25


def test_consistency_leaves_a_waveform_alone_that_has_the_mel() -> None:
    mel = front_end()
    wav = real_speech(mel.config)
    pushed = MelConsistency(mel)(wav, mel(wav), 5)
    torch.testing.assert_close(pushed, wav, rtol=0, atol=1e-4)
    assert torch.equal(MelConsistency(mel)(wav, mel(wav) + 1, 0), wav)


def test_consistency_without_momentum_only_scales_where_the_target_is_louder_throughout() -> None:
    mel = front_end()
    wav = speechlike(mel.config) + 0.01 * torch.randn(1, 23808, generator=torch.Generator().manual_seed(0))
    pushed = MelConsistency(mel, momentum=0)(wav, mel(wav) + math.log(1.5), 1)
    torch.testing.assert_close(pushed, 1.5 * wav, rtol=1e-3, atol=1e-5)


def test_consistency_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="db01"):
        MelConsistency(front_end("lmnt-22k"))
    for momentum in (-0.1, 1.0):
        with pytest.raises(ValueError, match=f"got {momentum}"):
            MelConsistency(front_end(), momentum=momentum)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("gain", [1e-3, 0.1, 1.0, 5.0])
def test_check_accepts_speech_at_any_level(name: str, gain: float) -> None:
    mel = front_end(name)
    for wav in (speechlike(mel.config), real_speech(mel.config)):
        mel.check(mel((gain * wav).clamp(-1, 1)))


@pytest.mark.parametrize("name", PRESETS)
def test_check_accepts_silence_and_full_scale(name: str) -> None:
    mel = front_end(name)
    mel.check(mel(torch.zeros(1, 256 * 40)))
    square = torch.sign(torch.sin(torch.arange(256 * 40) * 2 * math.pi * 220 / mel.config.sample_rate))
    square[256 * 20 :] = 0
    mel.check(mel(square.unsqueeze(0)))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("amplitude", [0.001, 0.02, 0.1, 0.3])
def test_check_accepts_steady_noise(name: str, amplitude: float) -> None:
    mel = front_end(name)
    mel.check(mel(amplitude * torch.randn(1, 256 * 60, generator=torch.Generator().manual_seed(0))))


def speech_mel() -> torch.Tensor:
    return front_end()(real_speech(MelConfig()))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda mel: mel[:, :40], r"got shape \[40, 118\]"),
        (lambda mel: mel.transpose(1, 2), r"got shape \[118, 80\] \(transposed\?\)"),
        (lambda mel: mel[0], r"got shape \[80, 118\]"),
        (lambda mel: mel[..., :0], "got no frames"),
        (lambda mel: mel.index_fill(2, torch.tensor([3]), math.nan), "NaN or infinite"),
        (lambda mel: mel.index_fill(2, torch.tensor([3]), -math.inf), "NaN or infinite"),
        (lambda mel: mel / math.log(10), "log10"),
        (lambda mel: mel.exp(), "linear, normalised"),
        (lambda mel: (mel - mel.mean()) / mel.std(), "normalised"),
        (lambda mel: 20 / math.log(10) * mel, "another logarithm"),
        (lambda mel: mel - 3, "another logarithm"),
        (lambda mel: (mel / math.log(10) * 20 + 80).clamp(0) / 80, "normalised"),
    ],
    ids=[
        "bands", "transposed", "no batch", "empty", "nan", "inf", "log10", "linear", "normalised", "decibel", "floor",
        "unit range",
    ],
)  # fmt: skip
def test_check_refuses_other_conventions_and_names_both(spoil, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        front_end().check(spoil(speech_mel()))
    assert "80 bands" in str(caught.value)
    assert "16000 Hz" in str(caught.value)


def test_check_refuses_mels_between_presets_where_values_tell() -> None:
    speech = {name: front_end(name)(real_speech(mel_preset(name))) for name in PRESETS}
    with pytest.raises(ValueError, match="db01"):
        front_end("lmnt-22k").check(speech["default"])
    with pytest.raises(ValueError, match="normalised"):
        front_end().check(speech["lmnt-22k"])
    silent = torch.cat([speech["default"], torch.full((1, 80, 5), math.log(1e-5))], dim=-1)
    with pytest.raises(ValueError, match="log10"):
        front_end("speecht5-16k").check(silent)


def test_the_mel_follows_its_input_in_dtype_batch_and_gradient() -> None:
    mel = MelSpectrogram(MelConfig(n_fft=64, win_length=64, hop_length=16, n_mels=8))
    wav = torch.randn(2, 160, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    both = mel(wav)
    assert both.dtype == torch.float64
    torch.testing.assert_close(torch.cat([mel(wav[:1]), mel(wav[1:])]), both)
    assert torch.autograd.gradcheck(mel, wav.requires_grad_())


@pytest.mark.parametrize("name", PRESETS)
def test_the_filterbank_is_torchaudios_and_librosas(name: str) -> None:
    config = CONVENTIONS[name].mel
    norm = None if config.mel_norm == "none" else config.mel_norm
    limits = {"f_min": config.f_min, "f_max": config.f_max, "norm": norm, "mel_scale": config.mel_scale}
    theirs = torchaudio.functional.melscale_fbanks(
        config.n_fft // 2 + 1, n_mels=config.n_mels, sample_rate=config.sample_rate, **limits
    ).t()
    ours = mel_filterbank(config)
    # They compute in float32.
    assert float((ours - theirs).abs().max()) < 1e-5 * float(ours.max())
    exact = librosa.filters.mel(
        sr=config.sample_rate, n_fft=config.n_fft, n_mels=config.n_mels, fmin=config.f_min, fmax=config.f_max,
        htk=config.mel_scale == "htk", norm=norm, dtype=np.float64,
    )  # fmt: skip
    assert np.abs(ours.double().numpy() - exact).max() < 1e-7 * exact.max()
