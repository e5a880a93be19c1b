"""Mel to waveform without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pesq
import pytest
import soundfile
import torch

from diffwave.config import MelConfig
from diffwave.mel.baseline import SYSTEMS, copy_synthesis, griffin_lim, mel_consistency
from diffwave.mel.spectrogram import MelSpectrogram

SPEECH = Path(__file__).parents[1] / "data" / "403-126855-0000.flac"


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return soundfile.read(SPEECH, dtype="float32")[0]


@pytest.fixture(scope="module")
def front_end() -> MelSpectrogram:
    return MelSpectrogram(MelConfig())


@pytest.mark.parametrize("function", [griffin_lim, mel_consistency])
def test_a_mel_gives_one_hop_per_frame_and_the_same_samples_every_time(function, front_end, speech):
    mel = front_end(torch.from_numpy(speech[: 40 * 256])[None])[0]
    wav = function(front_end, mel, 3)
    assert wav.shape == (40 * 256,)
    assert wav.dtype == torch.float32
    assert torch.equal(wav, function(front_end, mel, 3))


def test_griffin_lim_is_not_late(front_end):
    """A click comes back where it was, to within a fraction of a hop."""
    wav = torch.zeros(1, 64 * 256)
    wav[0, 8000:8064] = 0.5 * torch.randn(64, generator=torch.Generator().manual_seed(0))
    found = griffin_lim(front_end, front_end(wav)[0])
    energy = found.square()
    centre = float((energy * torch.arange(len(found))).sum() / energy.sum())
    assert centre == pytest.approx(8032, abs=100)


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("samples", [1, 100, 300, 5000])
def test_length_and_rate_are_kept_at_any_length(system, rate, samples, front_end, speech):
    wav = speech[8000 : 8000 + samples]
    assert copy_synthesis(front_end, wav, rate, system, 2).shape == wav.shape


def test_more_of_the_mel_is_met_by_more_iterations(front_end, speech):
    mel = front_end(torch.from_numpy(speech[: 40 * 256])[None])[0]
    errors = []
    for iterations in (0, 5, 40):
        wav = mel_consistency(front_end, mel, iterations)
        errors.append(float((front_end(wav[None])[0] - mel).abs().mean()))
    assert errors[0] > 3 * errors[1] > 3 * errors[2]


def test_mel_consistency_is_better_than_griffin_lim_by_pesq(front_end, speech):
    scores = [
        pesq.pesq(16000, speech, copy_synthesis(front_end, speech, 16000, system, 60), "wb") for system in SYSTEMS
    ]
    griffin, consistent, copied = scores
    assert 1.2 < griffin < consistent - 0.2
    assert copied == pytest.approx(4.6439, abs=1e-4)


@pytest.mark.parametrize("system", SYSTEMS)
def test_silence_stays_silent(system, front_end):
    silence = np.zeros(8000, np.float32)
    assert np.abs(copy_synthesis(front_end, silence, 16000, system, 20)).max() < 1e-3
