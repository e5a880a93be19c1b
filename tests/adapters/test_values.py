"""Mels whose numbers cannot be of the stated convention are caught; silence, noise and short ones are not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from diffwave.adapters.conversion import MelConversion
from torch import Tensor

from diffwave.adapters import HifiGanVocoder, MelConvention, MelValueError, mel_convention
from diffwave.config import MelConfig
from diffwave.mel.spectrogram import MelSpectrogram, MelWarning
from diffwave.mel.values import readings
from tiny import tiny_vocoder

HOP = 256
DATA = Path(__file__).parent.parent / "data"
LN10 = math.log(10)
LN = mel_convention("hifigan-16k")
LOG10 = MelConvention(mel_convention("speecht5-16k").mel, name="log10")
DB = MelConvention(LOG10.mel, "db", name="dB")
LINEAR = MelConvention(MelConfig(), "linear", name="linear")
# Coqui's usual: 20 log10, less 20, from [-100, 0] to [-4, 4].
COQUI_SCALE = 100 / 8 / 20


def speech(convention: MelConvention, name: str = "403-126855-0000", gain: float = 1.0) -> Tensor:
    """Nepers of a recording, ``[1, M, F]``, above the convention's floor."""
    wav, _ = soundfile.read(DATA / f"{name}.flac", dtype="float32")
    front_end = MelSpectrogram(convention.mel)
    mel = front_end(gain * torch.from_numpy(wav[: len(wav) // HOP * HOP]).unsqueeze(0))
    return mel if convention.mel.log == "ln" else mel * LN10


def written(convention: MelConvention, nepers: Tensor) -> Tensor:
    return {"ln": nepers, "log10": nepers / LN10, "db": 20 / LN10 * nepers, "linear": nepers.exp()}[convention.kind]


def judge(convention: MelConvention, values: Tensor) -> str:
    """What is said of a mel; empty if nothing."""
    conversion = MelConversion(convention, convention.mel)
    try:
        return conversion.doubt(conversion.read(values))
    except MelValueError as error:
        return str(error)


@pytest.mark.parametrize("convention", [LN, LOG10, DB, LINEAR], ids=lambda c: c.name)
@pytest.mark.parametrize("gain", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("name", ["403-126855-0000", "839-130898-0000"])
def test_speech_is_let_pass(convention: MelConvention, name: str, gain: float) -> None:
    nepers = speech(convention, name, gain)
    assert judge(convention, written(convention, nepers)) == ""
    for start in (0, 20, 60):
        for frames in (1, 5, 17, 40):
            assert judge(convention, written(convention, nepers[..., start : start + frames])) == ""


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


@pytest.mark.parametrize("convention", [LN, LOG10, DB, LINEAR], ids=lambda c: c.name)
@pytest.mark.parametrize("name", sounds())
def test_silence_noise_and_tones_are_let_pass(convention: MelConvention, name: str) -> None:
    mel = MelSpectrogram(convention.mel)(sounds()[name])
    nepers = mel if convention.mel.log == "ln" else mel * LN10
    assert judge(convention, written(convention, nepers)) == ""


def test_predictions_may_fall_a_little_below_the_floor() -> None:
    nepers = speech(LN)
    nepers[0, :5, :5] = math.log(1e-5) - 0.9
    assert judge(LN, nepers) == ""
    converted = MelConversion(LN, LN.mel)
    assert float(converted.write(converted.read(nepers)).min()) >= math.log(1e-5) - 1e-5


def log10(mel: Tensor) -> Tensor:
    return mel / LN10


WRONG: dict[str, tuple[MelConvention, Callable[[Tensor], Tensor], str]] = {
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
    "NaN": (LN, lambda x: x.index_fill(2, torch.tensor([3]), math.nan), "NaN or infinite"),
    "log of zero": (LOG10, lambda x: x.index_fill(2, torch.tensor([3]), -math.inf), "the logarithm of 0"),
    "transposed": (LN, lambda x: x.transpose(1, 2), "transposed"),
    "16-bit": (LN, lambda x: (x * 100).short(), r"a tensor of floats; got torch\.int16"),
    "empty": (LN, lambda x: x[..., :0], "got shape"),
    "no bands": (LN, lambda x: x[0, 0], "got shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["403-126855-0000", "839-130898-0000"])
@pytest.mark.parametrize("case", WRONG)
def test_another_convention_is_caught_and_named(case: str, name: str) -> None:
    stated, spoil, said = WRONG[case]
    reason = judge(stated, spoil(speech(LOG10 if stated in (LOG10, DB) else LN, name)))
    assert reason.startswith(f"expected {stated.name} mels [80 bands, frames], {stated.kind}")
    assert re.search(said, reason), reason


@pytest.mark.parametrize("kind", ["ln", "log10", "db", "linear"])
def test_speech_is_recognised_by_its_numbers(kind: str) -> None:
    convention = {"ln": LN, "log10": LOG10, "db": DB, "linear": LINEAR}[kind]
    assert readings(written(convention, speech(LN)))[0] == kind


def test_doubt_can_be_a_warning() -> None:
    vocoder = tiny_vocoder(MelConfig())
    given = speech(LN) / LN10
    with pytest.raises(MelValueError, match='on_doubt="warn" lets it pass'):
        HifiGanVocoder(vocoder, LN)(given)
    with pytest.warns(MelWarning, match="they would be speech as log10") as caught:
        wav = HifiGanVocoder(vocoder, LN, on_doubt="warn")(given)
    assert len(caught) == 1
    assert wav.shape == (1, 1, given.shape[2] * HOP)


def test_one_bad_example_of_a_batch_is_caught() -> None:
    vocoder = tiny_vocoder(MelConfig())
    good = speech(LN)[..., :100]
    with pytest.raises(MelValueError, match="log10"):
        HifiGanVocoder(vocoder, LN)(torch.cat([good, good / LN10]))
