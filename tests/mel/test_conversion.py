"""Mels that are only written down in another way become a model's own: against closed forms and librosa."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch

from diffwave.config import CONVENTIONS, MelConfig
from diffwave.mel.conversion import Conversion, converts
from diffwave.mel.spectrogram import MelSpectrogram

HOP = 256
SPEECH = Path(__file__).parent.parent / "data" / "403-126855-0000.flac"
OURS = MelConfig()


@pytest.fixture(scope="module")
def wav() -> torch.Tensor:
    samples, _ = soundfile.read(SPEECH, dtype="float32")
    return torch.from_numpy(samples[: len(samples) // HOP * HOP]).unsqueeze(0)


def converted(mel: torch.Tensor, theirs: MelConfig, ours: MelConfig = OURS) -> torch.Tensor:
    assert converts(theirs, ours)
    return Conversion(MelSpectrogram(theirs), MelSpectrogram(ours))(mel)


def magnitudes(wav: torch.Tensor) -> np.ndarray:
    """Mel magnitudes of the packaged convention, by librosa, ``[M, F]``."""
    padded = np.pad(wav[0].double().numpy(), (1024 - HOP) // 2, mode="reflect")
    spectrum = np.abs(librosa.stft(padded, n_fft=1024, hop_length=HOP, center=False))
    bank = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=80, fmin=0, fmax=8000, dtype=np.float64)
    return np.asarray(bank @ spectrum)


STATISTICS = {"mean": tuple(np.linspace(-1, -3, 80)), "scale": tuple(np.linspace(0.5, 2, 80))}
KINDS = {
    "ln": lambda m: np.log(np.maximum(m, 1e-5)),
    "log10": lambda m: np.log10(np.maximum(m, 1e-10)),
    "log2": lambda m: np.log2(np.maximum(m, 1e-10)),
    "db": lambda m: 20 * np.log10(np.maximum(m, 1e-10)),
    "linear": lambda m: m,
}


@pytest.mark.parametrize("standardised", [False, True], ids=["plain", "standardised"])
@pytest.mark.parametrize("kind", KINDS)
def test_speech_of_any_logarithm_and_statistics_becomes_ours(wav: torch.Tensor, kind: str, standardised: bool) -> None:
    values = KINDS[kind](magnitudes(wav))
    theirs = replace(OURS, log=kind, floor=1e-5 if kind == "ln" else 1e-10)
    if standardised:
        values = (values - np.array(STATISTICS["mean"])[:, None]) / np.array(STATISTICS["scale"])[:, None]
        theirs = replace(theirs, **STATISTICS)
    MelSpectrogram(theirs).check(torch.from_numpy(values).unsqueeze(0))
    given = torch.from_numpy(values).unsqueeze(0)
    torch.testing.assert_close(converted(given, theirs), MelSpectrogram(OURS)(wav), rtol=0, atol=2e-3)


def test_ours_becomes_standardised(wav: torch.Tensor) -> None:
    ours = replace(OURS, log="log10", **STATISTICS)
    torch.testing.assert_close(
        converted(MelSpectrogram(OURS)(wav), OURS, ours), MelSpectrogram(ours)(wav), rtol=0, atol=2e-3
    )


@pytest.mark.parametrize("log", ["ln", "log10", "log2", "db"])
def test_mels_of_the_models_own_convention_are_the_same_to_the_bit(wav: torch.Tensor, log: str) -> None:
    own = replace(OURS, log=log)
    mel = MelSpectrogram(own)(wav)
    assert torch.equal(converted(mel, own, own), mel)


def test_an_added_floor_is_taken_off(wav: torch.Tensor) -> None:
    added = replace(OURS, floor_added=True)
    given = torch.from_numpy(np.log(magnitudes(wav) + 1e-5)).unsqueeze(0)
    ours = MelSpectrogram(OURS)(wav)
    loud = ours > math.log(1e-4)
    torch.testing.assert_close(converted(given, added)[loud], ours[loud], rtol=0, atol=2e-3)


def test_height_of_bands_and_energy_of_the_window_are_levelled(wav: torch.Tensor) -> None:
    theirs = replace(OURS, mel_norm="none", stft_normalized=True, floor=1e-9)
    torch.testing.assert_close(
        converted(MelSpectrogram(theirs)(wav), theirs), MelSpectrogram(OURS)(wav), rtol=0, atol=2e-3
    )
    coarse, fine = replace(theirs, floor=1e-3), replace(OURS, floor=1e-9)
    back = converted(MelSpectrogram(fine)(wav), fine, coarse)
    torch.testing.assert_close(back, MelSpectrogram(coarse)(wav), rtol=0, atol=2e-3)


LOSSES = {
    "sample_rate": 22050, "n_fft": 2048, "win_length": 800, "hop_length": 200, "n_mels": 100, "f_min": 80.0,
    "f_max": 7600.0, "mel_scale": "htk", "framing": "centre", "spectrum": "power",
    # What lies below a coarser floor, and what was clipped, is lost.
    "floor": 1e-4, "log": "db01",
}  # fmt: skip


@pytest.mark.parametrize("setting", LOSSES)
def test_what_would_lose_something_does_not_convert(setting: str) -> None:
    other = replace(OURS, **{setting: LOSSES[setting]})
    assert not converts(other, OURS)
    if setting != "floor":
        assert not converts(OURS, other)


def test_of_the_named_ones_hifigans_alone_becomes_the_packaged() -> None:
    assert [name for name, convention in CONVENTIONS.items() if converts(convention.mel, OURS)] == [
        "default", "hifigan-16k",
    ]  # fmt: skip
