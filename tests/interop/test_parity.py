"""Checkpoints that other projects' code wrote speak here as they do there, with their own code for the other side."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.peers import parity
from diffwave.checkpoint.folder import Checkpoint
from diffwave.interop.importing import import_checkpoint
from diffwave.vocoder import Vocoder

TOLERANCE = 1e-4


def _agree(figures: parity.Figures, kinds: list[str]) -> None:
    assert figures.keys() == {"mel", *(f"{kind} {count}" for kind in kinds for count in ("one", "two"))}
    for name, row in figures.items():
        assert row["difference"] <= TOLERANCE, (name, row)
        # Neither silence, nor a wave that clipping made equal, nor one that the mel does not change.
        assert row["rms"] > 0.05, (name, row)
        assert name == "mel" or row["clipped"] < 0.7, (name, row)
        assert not name.endswith("two") or row["moved"] > 50 * TOLERANCE, (name, row)


@pytest.mark.peer
@pytest.mark.parametrize(
    ("params", "frames", "kinds"),
    [
        ({}, 4, ["fast"]),
        (parity.SMALL, 12, ["fast", "full"]),
        (
            parity.SMALL
            | {"sample_rate": 16000, "n_mels": 40, "n_fft": 2048}
            | {"noise_schedule": torch.linspace(0.01, 0.3, 50).square().tolist()},
            12,
            ["fast", "full"],
        ),
    ],
    ids=["BASE", "small", "another mel and a curved schedule"],
)
def test_lmnt(lmnt_package: Path, tmp_path: Path, params: dict[str, Any], frames: int, kinds: list[str]) -> None:
    answer = parity.lmnt_answer(lmnt_package, tmp_path, params, frames, kinds)
    _agree(parity.lmnt_figures(tmp_path, answer), kinds)
    checkpoint = import_checkpoint(tmp_path / "model", "lmnt").checkpoint
    assert checkpoint.config.mel.sample_rate == params.get("sample_rate", 22050)
    assert checkpoint.config.diffusion.schedule == ("list" if "noise_schedule" in params else "linear")
    assert checkpoint.training["iterations"] == 1


def test_speechbrain(tmp_path: Path) -> None:
    pytest.importorskip("speechbrain", reason="pip install 'diffwave-vocoder[tts]'")
    diffusion = parity.speechbrain_model(tmp_path)
    _agree(parity.speechbrain_figures(tmp_path, diffusion, frames=12), ["fast", "full"])


def test_speechbrains_ends_are_mirrored(tmp_path: Path) -> None:
    """With zeros beyond the ends the outputs differ, so the test above would see it."""
    pytest.importorskip("speechbrain", reason="pip install 'diffwave-vocoder[tts]'")
    parity.speechbrain_model(tmp_path)
    checkpoint = import_checkpoint(tmp_path, "speechbrain").checkpoint
    assert checkpoint.config.network.padding == "reflect"
    network = dataclasses.replace(checkpoint.config.network, padding="zeros")
    other = Checkpoint(dataclasses.replace(checkpoint.config, network=network), checkpoint.weights)
    mirrored, zeros = (Vocoder(one, "cpu", "reference") for one in (checkpoint, other))
    mel = mirrored.mel(parity.speech(22050, 12))
    difference = (mirrored.synthesize(mel) - zeros.synthesize(mel)).abs()
    assert difference[: 12 * 128].max() > 10 * TOLERANCE


def test_a_diffusion_brings_its_schedule(tmp_path: Path) -> None:
    pytest.importorskip("speechbrain", reason="pip install 'diffwave-vocoder[tts]'")
    diffusion = parity.speechbrain_model(tmp_path)
    plain = import_checkpoint(tmp_path, "speechbrain").checkpoint
    longer = type(diffusion)(diffusion.model, 80, diffusion.noise, beta_start=2e-4, beta_end=0.03)
    torch.save(longer.state_dict(), tmp_path / "diffwave.ckpt")
    config = import_checkpoint(tmp_path, "speechbrain").checkpoint.config
    assert (config.diffusion.schedule, config.diffusion.steps) == ("linear", 80)
    assert (config.diffusion.beta_start, config.diffusion.beta_end) == (2e-4, 0.03)
    assert import_checkpoint(tmp_path, "speechbrain").checkpoint.weights.keys() == plain.weights.keys()


def test_an_imported_model_speaks_batches_as_one_by_one(tmp_path: Path) -> None:
    """Mirrored ends are each example's own, wherever the longest one ends."""
    pytest.importorskip("speechbrain", reason="pip install 'diffwave-vocoder[tts]'")
    parity.speechbrain_model(tmp_path)
    vocoder = Vocoder(import_checkpoint(tmp_path, "speechbrain").checkpoint, "cpu")
    mel = vocoder.mel(parity.speech(22050, 20))
    mels = [mel, mel[:, 3:10], mel[:, :1], copy.copy(mel[:, 5:])]
    together = vocoder.synthesize_batch(mels, seed=3)
    for one, wav in zip(mels, together, strict=True):
        torch.testing.assert_close(wav, vocoder.synthesize(one, seed=3), atol=1e-5, rtol=0)
