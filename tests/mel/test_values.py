"""Mels whose numbers cannot be of the stated convention are caught and named; silence, noise and short ones are not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from diffwave.config import MelConfig, mel_preset
from diffwave.dsp.resampling import resample
from diffwave.mel.logarithms import from_nepers
from diffwave.mel.spectrogram import MelSpectrogram, MelValueError

HOP = 256
DATA = Path(__file__).parent.parent / "data"
LN10 = math.log(10)
LN = MelSpectrogram(mel_preset("hifigan-16k"))
LOG10 = MelSpectrogram(mel_preset("speecht5-16k"))
DB = MelSpectrogram(replace(LOG10.config, log="db"), "dB")
LINEAR = MelSpectrogram(MelConfig(log="linear"), "linear")
STANDARDISED = MelSpectrogram(replace(LN.config, mean=(-5.5,), scale=(2.1,)), "standardised")
STATED = [LN, LOG10, DB, LINEAR, STANDARDISED]


def speech(front_end: MelSpectrogram, name: str = "403-126855-0000", gain: float = 1.0) -> Tensor:
    """A recording, ``[1, M, F]``."""
    wav, _ = soundfile.read(DATA / f"{name}.flac", dtype="float32")
    return front_end(gain * torch.from_numpy(wav[: len(wav) // HOP * HOP]).unsqueeze(0))


def judge(front_end: MelSpectrogram, mel: Tensor) -> str:
    """What is said of a mel; empty if nothing."""
    try:
        front_end.check(mel)
    except MelValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("stated", STATED, ids=lambda stated: stated.name)
@pytest.mark.parametrize("gain", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("name", ["403-126855-0000", "839-130898-0000"])
def test_speech_is_let_pass(stated: MelSpectrogram, name: str, gain: float) -> None:
    mel = speech(stated, name, gain)
    assert judge(stated, mel) == ""
    for start in (0, 20, 60):
        for frames in (1, 5, 17, 40):
            assert judge(stated, mel[..., start : start + frames]) == ""


def sounds() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(1, HOP * 60, generator=random)
    time = torch.arange(HOP * 60) / 16000
    tone = (0.5 * torch.sin(2 * math.pi * 440 * time)).unsqueeze(0)
    half = noise * 0.1
    half[:, HOP * 30 :] = 0
    return {
        "silence": torch.zeros(1, HOP * 60),
        "soft noise": 1e-4 * noise,
        "noise": 0.1 * noise,
        "loud noise": 0.3 * noise,
        "tone": tone,
        "noise, then silence": half,
        "clicks": torch.zeros(1, HOP * 60).index_fill_(1, torch.arange(0, HOP * 60, 4000), 1.0),
    }


@pytest.mark.parametrize("stated", STATED, ids=lambda stated: stated.name)
@pytest.mark.parametrize("name", sounds())
def test_silence_noise_and_tones_are_let_pass(stated: MelSpectrogram, name: str) -> None:
    assert judge(stated, stated(sounds()[name])) == ""


@pytest.mark.parametrize("stated", [LN, LOG10, STANDARDISED], ids=lambda stated: stated.name)
def test_predictions_may_fall_a_neper_below_the_floor(stated: MelSpectrogram) -> None:
    mel = speech(stated)
    silence = stated.compress(torch.zeros(1))
    below = stated.standardise(stated.destandardise(silence) + from_nepers(torch.tensor([-0.9]), stated.config.log))
    mel[0, :5, :5] = below
    assert judge(stated, mel) == ""
    torch.testing.assert_close(stated.within_limits(mel)[0, :5, :5], silence.expand(5, 5), rtol=0, atol=1e-4)
    mel[0, 0, 0] = below + (below - silence) / 4
    assert "another logarithm, floor or normalisation" in judge(stated, mel)


def log10(mel: Tensor) -> Tensor:
    return mel / LN10


WRONG: dict[str, tuple[MelSpectrogram, Callable[[Tensor], Tensor], str]] = {
    # stated, what comes of nepers, what is said
    "log10 read as ln": (LN, log10, "they would be speech as log10"),
    "ln read as log10": (LOG10, lambda x: x.clamp_min(math.log(1e-5)), "they would be speech as ln"),
    "dB read as ln": (LN, lambda x: 20 * log10(x), "they would be speech as db"),
    "dB read as log10": (LOG10, lambda x: 20 * log10(x), "they would be speech as db"),
    "ln read as dB": (DB, lambda x: x, "they would be speech as ln"),
    "log10 read as dB": (DB, log10, "they would be speech as log10"),
    "linear read as ln": (LN, torch.exp, "they would be speech as linear"),
    "linear read as log10": (LOG10, torch.exp, "they would be speech as linear"),
    "ln read as linear": (LINEAR, lambda x: x, "they would be speech as ln"),
    "log10 read as linear": (LINEAR, log10, "they would be speech as log10"),
    "standardised, read as ln": (LN, lambda x: (x - x.mean()) / x.std(), "they look standardised"),
    "standardised, read as log10": (LOG10, lambda x: (x - x.mean()) / x.std(), "they look standardised"),
    "[-4, 4] read as ln": (
        LN, lambda x: ((20 * log10(x) - 20 + 100) / 100 * 8 - 4).clamp(-4, 4), r"normalised to \[-4, 4\]",
    ),
    "[-4, 4] read as log10": (
        LOG10, lambda x: ((20 * log10(x) - 20 + 100) / 100 * 8 - 4).clamp(-4, 4), r"normalised to \[-4, 4\]",
    ),
    "[0, 1] read as ln": (LN, lambda x: ((20 * log10(x) - 20 + 100) / 100).clamp(0, 1), "db01"),
    "[0, 1] read as log10": (LOG10, lambda x: ((20 * log10(x) - 20 + 100) / 100).clamp(0, 1), "db01"),
    "power read as ln": (LN, lambda x: 2 * x, "another logarithm"),
    "ln read as standardised": (STANDARDISED, lambda x: x, "they would be speech as ln, not standardised"),
    "log10 read as standardised": (STANDARDISED, log10, "they would be speech as log10, not standardised"),
    "NaN": (LN, lambda x: x.index_fill(2, torch.tensor([3]), math.nan), "NaN or infinite"),
    "log of zero": (LOG10, lambda x: x.index_fill(2, torch.tensor([3]), -math.inf), "the logarithm of 0"),
    "transposed": (LN, lambda x: x.transpose(1, 2), "transposed"),
    "empty": (LN, lambda x: x[..., :0], "got no frames"),
    "no bands": (LN, lambda x: x[0, 0], "got shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["403-126855-0000", "839-130898-0000"])
@pytest.mark.parametrize("case", WRONG)
def test_another_convention_is_caught_and_named(case: str, name: str) -> None:
    stated, spoil, said = WRONG[case]
    nepers = speech(LOG10, name) * LN10 if stated in (LOG10, DB) else speech(LN, name)
    reason = judge(stated, spoil(nepers))
    assert reason.startswith(f"expected a mel [80 bands, frames] of {stated.name}: 16000 Hz, ")
    assert "\n" not in reason
    assert re.search(said, reason), reason


def test_the_name_is_the_given_one_or_that_of_the_list() -> None:
    for front_end, name in (
        (MelSpectrogram(MelConfig()), "of default: 16000 Hz"),
        (MelSpectrogram(MelConfig(), "hers"), "of hers: 16000 Hz"),
        (MelSpectrogram(MelConfig(hop_length=200)), "frames] of: 16000 Hz"),
    ):
        assert name in judge(front_end, torch.zeros(1, 79, 20))


@pytest.mark.parametrize("name", ["403-126855-0000", "839-130898-0000"])
def test_few_frames_of_a_fine_mel_are_no_other_logarithm(name: str) -> None:
    """Bands over nothing but silence, as of speech that came from a lower rate, vary much from the others."""
    front_end = MelSpectrogram(mel_preset("vocos-24k"))
    wav = torch.from_numpy(soundfile.read(DATA / f"{name}.flac", dtype="float32")[0]).unsqueeze(0)
    frames = wav.shape[1] * 3 // 2 // HOP
    wav = resample(wav, 16000, 24000, first=0, begin=0, end=frames * HOP)
    for gain in (0.1, 1.0):
        mel = front_end(gain * wav)
        for start in range(frames - 20):
            assert judge(front_end, mel[..., start : start + 20]) == ""


@pytest.mark.parametrize("name", ["vocos-24k", "espnet-24k", "bigvgan-44k"])
def test_hints_are_right_with_any_triangles_and_windows(name: str) -> None:
    front_end = MelSpectrogram(mel_preset(name))
    wav, _ = soundfile.read(DATA / "403-126855-0000.flac", dtype="float32")
    hop = front_end.config.hop_length
    nepers = front_end.nepers(front_end(torch.from_numpy(wav[: len(wav) // hop * hop]).unsqueeze(0)))
    assert "; they would be speech as db" in judge(front_end, from_nepers(nepers, "db"))
