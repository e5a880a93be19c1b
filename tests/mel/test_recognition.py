"""Real speech is recognized in the convention that it was written in, and none is doubted that is read rightly."""

from __future__ import annotations

import functools
import math
import time
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F

from diffwave.config import CONVENTIONS, MelConfig, mel_preset
from diffwave.mel.recognition import ENOUGH_FRAMES, _expected, _marks, looks_like
from diffwave.mel.spectrogram import MelSpectrogram

RECORDINGS = sorted((Path(__file__).parents[1] / "data").glob("*.flac"))
# Of each that is recognized, in what it is most likely to be read.
CONFUSED = [
    ("hifigan-22k", "default"),
    ("tacotron2-22k", "default"),
    ("nemo-22k", "hifigan-16k"),
    ("default", "hifigan-22k"),
    ("speechbrain-16k", "tacotron2-22k"),
    ("bigvgan-22k-full", "hifigan-22k"),
    ("bigvgan-24k", "10ms"),
    ("bigvgan-24k", "vocos-24k"),
    ("vocos-24k", "bigvgan-24k"),
    ("f5-tts-24k", "bigvgan-24k"),
    ("10ms", "bigvgan-24k"),
    ("gpt-sovits-24k", "gpt-sovits-32k"),
    ("espnet-22k", "speecht5-16k"),
    ("espnet-22k", "espnet-24k"),
]


@functools.lru_cache
def recording(path: Path, rate: int) -> torch.Tensor:
    wav, original = soundfile.read(path, dtype="float32")
    return torch.from_numpy(librosa.resample(wav, orig_sr=original, target_sr=rate))


def mel_of(wav: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """``[N]`` to ``[1, M, F]``."""
    return MelSpectrogram(config)(wav[None, : len(wav) // config.hop_length * config.hop_length])


def spoken(mel: str | MelConfig, *paths: Path) -> torch.Tensor:
    """The mel of recordings, of all if none is named (5.7 s), one after the other; ``[1, M, F]``."""
    config = mel_preset(mel) if isinstance(mel, str) else mel
    return torch.cat([mel_of(recording(path, config.sample_rate), config) for path in paths or RECORDINGS], dim=-1)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_what_is_read_rightly_is_never_doubted(name: str) -> None:
    whole = spoken(name)
    for part in (whole, *(spoken(name, path) for path in RECORDINGS), *whole.split(128, dim=-1)):
        assert looks_like(part, mel_preset(name)) == ""


@pytest.mark.parametrize(("true", "assumed"), CONFUSED)
def test_speech_in_another_convention_is_recognized(true: str, assumed: str) -> None:
    named = looks_like(spoken(true), mel_preset(assumed)).split(" or ")
    marked = [MelSpectrogram(mel_preset(name)).filterbank for name in named]
    assert any(torch.equal(weights, MelSpectrogram(mel_preset(true)).filterbank) for weights in marked)


def test_three_seconds_of_hifigan_read_as_default_are_enough() -> None:
    mel = spoken("hifigan-22k", RECORDINGS[1])[..., :258]
    assert looks_like(mel, mel_preset("default")) == "hifigan-22k"


def predicted(mel: torch.Tensor, how: str) -> torch.Tensor:
    """As acoustic models have it: blurred, noisy, or of few components over bands."""
    if how == "blurred":
        return F.avg_pool1d(mel, 3, 1, 1, count_include_pad=False)
    if how == "noisy":
        return mel + 0.1 * torch.randn(mel.shape, generator=torch.Generator().manual_seed(0))
    mean = mel[0].mean(dim=1, keepdim=True)
    left, _, _ = torch.linalg.svd(mel[0] - mean, full_matrices=False)
    return (mean + left[:, :40] @ left[:, :40].T @ (mel[0] - mean))[None]


@pytest.mark.parametrize("how", ["blurred", "noisy", "simplified"])
def test_what_acoustic_models_do_to_mels_changes_neither(how: str) -> None:
    """It is the mean over time that they keep best."""
    assert looks_like(predicted(spoken("hifigan-22k"), how), mel_preset("default")) == "hifigan-22k"
    for name in ("default", "10ms", "hifigan-22k", "vocos-24k"):
        assert looks_like(predicted(spoken(name), how), mel_preset(name)) == ""


@pytest.mark.parametrize(
    ("true", "assumed"),
    [
        ("hifigan-22k", "tacotron2-22k"),  # framing
        ("bigvgan-22k", "nemo-22k"),  # floor
        ("univnet-24k", "bigvgan-24k"),
        ("vocos-24k", "f5-tts-24k"),
        ("default", "speechbrain-16k"),
    ],
)
def test_what_nobody_hears_is_not_told(true: str, assumed: str) -> None:
    assert looks_like(spoken(true), mel_preset(assumed)) == ""


def test_a_convention_without_a_name_is_compared_as_well() -> None:
    own = replace(mel_preset("hifigan-22k"), f_max=7000.0)
    assert looks_like(spoken(own), own) == ""
    assert looks_like(spoken("bigvgan-24k"), replace(mel_preset("vocos-24k"), f_min=50.0)) == "bigvgan-24k"
    few = replace(mel_preset("default"), n_mels=10)
    assert looks_like(spoken(few), few) == ""


def test_a_few_frames_and_silence_tell_nothing() -> None:
    mel, default = spoken("hifigan-22k"), mel_preset("default")
    loud = mel[..., mel.amin(dim=1)[0] > math.log(default.floor) + 0.5]
    assert looks_like(loud[..., : ENOUGH_FRAMES - 1], default) == ""
    assert looks_like(torch.full((1, 80, 1000), math.log(default.floor)), default) == ""
    silence = torch.full((1, 80, 600), math.log(default.floor))
    assert looks_like(torch.cat([silence, loud], dim=2), default) == "hifigan-22k"


@pytest.mark.parametrize("name", ["default", "10ms", "hifigan-22k", "vocos-24k", "cosyvoice2-24k"])
def test_tones_and_noise_are_not_doubted(name: str) -> None:
    config = mel_preset(name)
    time = torch.arange(600 * config.hop_length) / config.sample_rate
    noise = 0.1 * torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    chord = sum(0.05 * torch.sin(2 * math.pi * hz * time) for hz in (261.6, 329.6, 392.0, 1046.5))
    square = 0.1 * torch.sign(torch.sin(2 * math.pi * 100 * time))
    for wav in (noise, chord, chord + 0.01 * noise, square, square + 0.01 * noise, 0 * noise):
        assert looks_like(mel_of(wav, config), config) == ""


def test_examples_of_a_batch_are_heard_together() -> None:
    mel = spoken("hifigan-22k")[..., :480].reshape(80, 4, 120).transpose(0, 1)
    assert looks_like(mel[:1], mel_preset("default")) == ""
    assert looks_like(mel, mel_preset("default")) == "hifigan-22k"


@pytest.mark.parametrize("name", ["hifigan-22k", "vocos-24k", "bigvgan-24k"])
def test_marks_are_those_of_noise(name: str) -> None:
    """By a thousand seconds of noise, not by formula."""
    config = mel_preset(name)
    noise = 0.1 * torch.randn(1, 8000 * config.hop_length, generator=torch.Generator().manual_seed(0))
    nepers = MelSpectrogram(config)(noise)[0, : math.ceil(0.62 * config.n_mels)]
    bends = nepers[1:-1] - (nepers[2:] + nepers[:-2]) / 2
    moves = nepers.diff(dim=0).diff(dim=1).square().mean(dim=1)
    seen = _marks(nepers.mean(dim=1), bends.var(dim=1), moves)
    for row, expected in zip(seen, _expected(config), strict=True):
        assert float(np.corrcoef(row, expected)[0, 1]) > 0.8
        assert float(row.std() / expected.std()) == pytest.approx(1.15, abs=0.25)


def test_it_takes_little_time() -> None:
    mel, default = spoken("hifigan-22k")[..., :400], mel_preset("default")
    looks_like(mel, default)

    def once() -> float:
        begun = time.perf_counter()
        looks_like(mel, default)
        return time.perf_counter() - begun

    assert min(once() for _ in range(30)) < 0.004
