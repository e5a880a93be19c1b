"""The packaged checkpoints speak: intelligible, at the right level, faster than real time."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

import diffwave
from diffwave.audio.file import read_audio
from diffwave.checkpoint.folder import CheckpointError, checkpoint_folder, packaged_checkpoints
from diffwave.config import mel_preset
from diffwave.evaluation.metrics import level_difference
from diffwave.evaluation.perceptual import pesq_wb, stoi
from diffwave.evaluation.run import mel_filters
from diffwave.evaluation.spectral import spectral_scores
from diffwave.vocoder import Vocoder

ASSETS = Path(diffwave.__file__).parent / "assets"
UTTERANCES = [ASSETS / "utterance.flac", *sorted((Path(__file__).parents[1] / "data").glob("*.flac"))]


def audible(wav: np.ndarray) -> np.ndarray:
    """Above 40 Hz: a mel does not tell a constant offset (839-130898 has one) from rumble in its lowest band."""
    spectrum = np.fft.rfft(wav.astype(np.float64))
    spectrum[np.fft.rfftfreq(len(wav), 1 / 16000) < 40] = 0
    return np.fft.irfft(spectrum, len(wav))


NAMES = list(packaged_checkpoints())


@pytest.fixture(scope="module", params=NAMES)
def vocoder(request: pytest.FixtureRequest) -> Vocoder:
    return Vocoder.from_pretrained(request.param, device="cpu")


def test_names() -> None:
    assert NAMES == ["default", "10ms"]
    with pytest.raises(CheckpointError, match="nothing: expected a checkpoint folder or 'default' or '10ms'; there is"):
        checkpoint_folder("nothing")
    for name in NAMES:
        assert checkpoint_folder(name) == ASSETS / name
        assert Vocoder.from_pretrained(name, device="cpu").config.mel == mel_preset(name)


@pytest.mark.parametrize("path", UTTERANCES, ids=lambda path: path.stem)
def test_speaks_a_held_out_utterance(vocoder: Vocoder, path: Path) -> None:
    wav = read_audio(path).wav
    output = vocoder.synthesize(vocoder.mel(wav))[: len(wav)]
    reference, estimate = wav.numpy(), output.numpy()
    assert estimate.shape == reference.shape
    assert abs(level_difference(audible(reference), audible(estimate))) < 2
    assert pesq_wb(reference, estimate) > 1.5
    assert stoi(reference, estimate) > 0.80
    # White noise of the same level is 3 nat away, Griffin-Lim about 0.3.
    assert spectral_scores([reference], [estimate], mel_filters())["log_mel"][0] < 0.8


def test_network_alone_is_intelligible(vocoder: Vocoder) -> None:
    wav = read_audio(UTTERANCES[0]).wav
    output = vocoder.synthesize(vocoder.mel(wav), steps=6, consistency=0)[: len(wav)]
    assert stoi(wav.numpy(), output.numpy()) > 0.75


def test_silence_stays_silent(vocoder: Vocoder) -> None:
    output = vocoder.synthesize(vocoder.mel(torch.zeros(16000)))
    # -60 dBFS: below the noise floor of a quiet recording.
    assert float(output.square().mean().sqrt()) < 1e-3


def test_faster_than_real_time_on_one_core(vocoder: Vocoder) -> None:
    """In processor time with one thread, which other work on the machine hardly touches."""
    mel = vocoder.mel(read_audio(UTTERANCES[0]).wav)
    vocoder.synthesize(mel[:, :32])
    factors = []
    for _ in range(3):
        begun = time.process_time()
        output = vocoder.synthesize(mel)
        factors.append((time.process_time() - begun) / (len(output) / vocoder.sample_rate))
    assert min(factors) < 1


@pytest.mark.parametrize("name", NAMES)
def test_size(name: str) -> None:
    assert sum(path.stat().st_size for path in (ASSETS / name).iterdir()) < 8 * 2**20
    assert sorted(path.name for path in (ASSETS / name).iterdir()) == ["README.md", "config.json", "model.safetensors"]
