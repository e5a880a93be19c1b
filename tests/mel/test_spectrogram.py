from __future__ import annotations

import math
from collections.abc import Callable
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


def filters(rate: int, size: int, low: float, high: float, htk: bool, norm: str | None, bands: int = 80) -> np.ndarray:
    return librosa.filters.mel(
        sr=rate, n_fft=size, n_mels=bands, fmin=low, fmax=high, htk=htk, norm=norm, dtype=np.float64
    )


def magnitude(wav: np.ndarray, center: bool, hop: int = 256, window: int = 1024, size: int = 1024) -> np.ndarray:
    if not center:
        wav = np.pad(wav, (size - hop) // 2, mode="reflect")
    spectrum = librosa.stft(wav, n_fft=size, hop_length=hop, win_length=window, center=center, pad_mode="reflect")
    return np.abs(spectrum)


def hifigan(rate: int, bands: int, high: float, hop: int = 256, epsilon: float = 1e-9) -> Callable:
    """meldataset.mel_spectrogram of HiFi-GAN, BigVGAN and Matcha-TTS, mel_spectrogram_torch of GPT-SoVITS."""
    size = 4 * hop
    bank = filters(rate, size, 0, high, False, "slaney", bands)
    return lambda wav: np.log(
        np.clip(bank @ np.sqrt(magnitude(wav, False, hop, size, size) ** 2 + epsilon), 1e-5, None)
    )


def vocos(floor: float) -> Callable:
    """torchaudio's MelSpectrogram(power=1), which is HTK's without a norm, and the logarithm of what is clipped."""
    bank = filters(24000, 1024, 0, 12000, True, None, 100)
    return lambda wav: np.log(np.clip(bank @ magnitude(wav, True), floor, None))


def tacotron(rate: int, guard: Callable = lambda bands: np.clip(bands, 1e-5, None)) -> Callable:
    bank = filters(rate, 1024, 0, 8000, False, "slaney")
    return lambda wav: np.log(guard(bank @ magnitude(wav, True)))


def parallel_wavegan(rate: int, hop: int = 256, window: int = 1024, size: int = 1024) -> Callable:
    """bin.preprocess.logmelfilterbank; SpeechT5FeatureExtractor says the same in transformers."""
    bank = filters(rate, size, 80, 7600, False, "slaney")
    return lambda wav: np.log10(np.maximum(1e-10, bank @ magnitude(wav, True, hop, window, size)))


def lmnt(wav: np.ndarray) -> np.ndarray:
    window = np.hanning(1025)[:-1]
    mel = filters(22050, 1024, 20, 11025, True, None) @ (magnitude(wav, True) / np.sqrt((window**2).sum()))
    decibel = 20 * np.log10(np.clip(mel, 1e-5, None)) - 20
    return np.clip((decibel + 100) / 100, 0, 1)


def ten_milliseconds(wav: np.ndarray) -> np.ndarray:
    bank = filters(16000, 1024, 0, 8000, False, "slaney", 100)
    return np.log(np.clip(bank @ magnitude(wav, False, 160, 640), 1e-5, None))


def sovits(logs: Callable) -> Callable:
    """norm_spec: from -12 to 2 as from -1 to 1."""
    return lambda wav: (logs(wav) + 12) / (2 + 12) * 2 - 1


# Each convention as the project that it comes from computes it.
BY_LIBROSA: dict[str, Callable] = {
    "default": hifigan(16000, 80, 8000, epsilon=0),
    "10ms": ten_milliseconds,
    "hifigan-16k": hifigan(16000, 80, 8000),
    "hifigan-22k": hifigan(22050, 80, 8000),
    "matcha-22k": lambda wav: (hifigan(22050, 80, 8000)(wav) - -5.536622) / 2.116101,
    "bigvgan-22k": hifigan(22050, 80, 8000),
    "bigvgan-22k-full": hifigan(22050, 80, 11025),
    "bigvgan-24k": hifigan(24000, 100, 12000),
    "bigvgan-44k": hifigan(44100, 128, 22050, 512),
    "univnet-24k": hifigan(24000, 100, 12000),
    "tacotron2-22k": tacotron(22050),
    "speechbrain-22k": tacotron(22050),
    "speechbrain-16k": tacotron(16000),
    "nemo-22k": tacotron(22050, lambda bands: bands + 1e-5),
    "vocos-24k": vocos(1e-7),
    "f5-tts-24k": vocos(1e-5),
    "cosyvoice2-24k": hifigan(24000, 80, 8000, 480),
    "cosyvoice3-24k": hifigan(24000, 80, 12000, 480),
    "gpt-sovits-24k": sovits(hifigan(24000, 100, 12000, epsilon=1e-8)),
    "gpt-sovits-32k": sovits(hifigan(32000, 100, 16000, 320, epsilon=1e-8)),
    "speecht5-16k": parallel_wavegan(16000),
    "espnet-16k": parallel_wavegan(16000),
    "espnet-22k": parallel_wavegan(22050),
    "espnet-24k": parallel_wavegan(24000, 300, 1200, 2048),
    "lmnt-22k": lmnt,
}


def front_end(name: str = "default") -> MelSpectrogram:
    return MelSpectrogram(mel_preset(name))


@pytest.mark.parametrize("make", [speechlike, real_speech])
@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_equals_librosa(name: str, make) -> None:
    config = mel_preset(name)
    wav = make(config)
    # In float32 what lies below all speech, as above 8 kHz here, is rounding.
    ours = front_end(name)(wav.double())[0].numpy()
    theirs = BY_LIBROSA[name](wav[0].double().numpy())[:, : ours.shape[1]]
    assert ours.shape == (config.n_mels, wav.shape[-1] // config.hop_length)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)  # filters in float32


@pytest.mark.parametrize("name", PRESETS)
def test_silence_lies_on_the_floor(name: str) -> None:
    mel = front_end(name)(torch.zeros(1, 20 * mel_preset(name).hop_length))
    # HiFi-GAN's epsilon keeps every bin above sqrt(1e-9); summed by the triangles that is above the floor in no band
    # narrower than a third of a bin, and in no other either: area 1 / bin width = .046 to .08.
    expected = {
        "lmnt-22k": 0.0,
        "vocos-24k": math.log(1e-7),
        "matcha-22k": (math.log(1e-5) + 5.536622) / 2.116101,
        "gpt-sovits-24k": (math.log(1e-5) + 5) / 7,
        "gpt-sovits-32k": (math.log(1e-5) + 5) / 7,
        **dict.fromkeys(("speecht5-16k", "espnet-16k", "espnet-22k", "espnet-24k"), -10.0),
    }.get(name, math.log(1e-5))
    torch.testing.assert_close(mel, torch.full_like(mel, expected), rtol=0, atol=1e-5)


def test_a_tone_shows_its_amplitude_in_its_band() -> None:
    # A sine on bin k has magnitudes A * 512 / 2 * (1/2, 1, 1/2) around k; the mel is their sum over triangles.
    config, k, amplitude = MelConfig(), 96, 0.5
    wav = amplitude * torch.sin(2 * math.pi * k / 1024 * torch.arange(256 * 20, dtype=torch.float64))
    mel = front_end()(wav.unsqueeze(0))[0, :, 10].exp().numpy()
    bank = filters(config.sample_rate, 1024, 0, 8000, False, "slaney")
    expected = amplitude * 256 * (bank[:, k] + 0.5 * bank[:, k - 1] + 0.5 * bank[:, k + 1])
    np.testing.assert_allclose(mel, np.clip(expected, 1e-5, None), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", PRESETS)
def test_expand_undoes_compress_between_its_limits(name: str) -> None:
    mel = front_end(name)
    magnitudes = torch.logspace(-3.9, 0.5, 80, dtype=torch.float64)[None, :, None]
    torch.testing.assert_close(mel.expand(mel.compress(magnitudes)), magnitudes, rtol=1e-10, atol=0)
    low, high = mel.limits()
    silent, full = (mel.destandardise(mel.compress(torch.full((80, 1), level)))[0] for level in (0.0, 1.0))
    assert float(silent) == pytest.approx(low, abs=1e-6)
    assert high > float(full)


@pytest.mark.parametrize("name", ["matcha-22k", "gpt-sovits-24k", "gpt-sovits-32k"])
def test_statistics_are_undone_to_rounding(name: str) -> None:
    config, mel = mel_preset(name), front_end(name)
    logs = torch.linspace(-11, 2, 50 * config.n_mels, dtype=torch.float64).view(1, config.n_mels, 50)
    numbers = (logs - config.mean[0]) / config.scale[0]
    torch.testing.assert_close(mel.standardise(logs), numbers)
    torch.testing.assert_close(mel.destandardise(numbers), logs, rtol=0, atol=1e-12)
    torch.testing.assert_close(mel.nepers(numbers), logs, rtol=0, atol=1e-12)
    torch.testing.assert_close(mel.expand(numbers), logs.exp())


def test_statistics_of_a_band_are_of_that_band() -> None:
    mean, scale = (tuple(start + 0.01 * i for i in range(80)) for start in (-5, 1))
    found = MelSpectrogram(MelConfig(mean=mean, scale=scale)).standardise(torch.zeros(2, 80, 3))
    torch.testing.assert_close(found, (-torch.tensor(mean) / torch.tensor(scale))[:, None].expand(2, 80, 3))


@pytest.mark.parametrize("name", LINEAR)
def test_the_envelope_of_a_flat_spectrum_comes_back(name: str) -> None:
    mel = front_end(name)
    heights = torch.tensor([0.01, 1.0, 30.0])
    flat = heights.expand(mel.config.n_fft // 2 + 1, 3)
    envelope = mel.envelope(mel.compress(mel.filterbank @ flat).unsqueeze(0))
    torch.testing.assert_close(envelope[0], flat, rtol=1e-4, atol=0)


@pytest.mark.parametrize("name", LINEAR)
def test_the_envelope_has_nearly_the_mel_it_was_made_from(name: str) -> None:
    mel = front_end(name)
    logs = mel(real_speech(mel.config))
    again = mel.compress(mel.filterbank @ mel.envelope(logs))
    nats = mel.nepers(again) - mel.nepers(logs)
    # Triangles smooth what triangles measured: a few tenths of a nat, without a bias.
    assert float(nats.abs().mean()) < 0.25
    assert abs(float(nats.mean())) < 0.15


def distance(mel: MelSpectrogram, wav: torch.Tensor, target: torch.Tensor) -> float:
    """Mean difference in nepers."""
    return float((mel.nepers(mel(wav)) - mel.nepers(target)).abs().mean())


@pytest.mark.parametrize("name", PRESETS)
def test_consistency_brings_noise_close_to_a_mel(name: str) -> None:
    mel = front_end(name)
    target = mel(real_speech(mel.config))
    noise = 0.05 * torch.randn(1, target.shape[-1] * mel.config.hop_length, generator=torch.Generator().manual_seed(0))
    push = MelConsistency(mel)
    distances = [distance(mel, push(noise, target, count), target) for count in (0, 1, 3, 8, 20)]
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
    half = 20 * mel.config.hop_length
    mel.check(mel(torch.zeros(1, 2 * half)))
    square = torch.sign(torch.sin(torch.arange(2 * half) * 2 * math.pi * 220 / mel.config.sample_rate))
    square[half:] = 0
    mel.check(mel(square.unsqueeze(0)))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("amplitude", [0.001, 0.02, 0.1, 0.3])
def test_check_accepts_steady_noise(name: str, amplitude: float) -> None:
    mel = front_end(name)
    wav = torch.randn(1, 60 * mel.config.hop_length, generator=torch.Generator().manual_seed(0))
    mel.check(mel(amplitude * wav))


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


@pytest.mark.parametrize("extractor", ["UnivNetFeatureExtractor", "SpeechT5FeatureExtractor"])
def test_what_transformers_extracts_is_the_named_convention(extractor: str) -> None:
    transformers = pytest.importorskip("transformers")
    extract = getattr(transformers, extractor)()
    name, given = ("univnet-24k", "raw_speech") if extractor.startswith("Univ") else ("speecht5-16k", "audio_target")
    config = mel_preset(name)
    wav = real_speech(config)[0].numpy()
    options = {"pad_end": False} if given == "raw_speech" else {}
    found = extract(**{given: wav}, sampling_rate=config.sample_rate, return_tensors="np", **options)
    theirs = found["input_features" if given == "raw_speech" else "input_values"][0].T
    ours = front_end(name)(torch.from_numpy(wav).double()[None])[0].numpy()
    np.testing.assert_allclose(ours, theirs[:, : ours.shape[1]], atol=2e-3)
