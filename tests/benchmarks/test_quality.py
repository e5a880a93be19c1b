"""The results page is made of the scores and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import quality
from diffwave.audio import read_audio
from diffwave.baseline import griffin_lim
from diffwave.evaluation.perceptual import pesq_wb
from diffwave.vocoder import Vocoder

ROOT = Path(__file__).resolve().parents[2]


def _score(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.25, "high": mean + 0.25, "median": mean}


def test_table_shows_each_system_with_half_of_its_interval() -> None:
    scores = {name: _score(2.0 + i) for i, name in enumerate(quality.COLUMNS)}
    results = {"labels": {"ours": "**ours**"}, "systems": [{"name": "ours", "scores": scores}]}
    header, _, row = quality.table(results).splitlines()
    assert header.startswith("| system | PESQ-WB | STOI")
    assert row.startswith("| **ours** | 2.00 ± 0.25 | 3.000 ± 0.250 |")
    assert "| +8.00 ± 0.25 | 9.000 |" in row


def test_the_default_setting_is_marked_and_every_system_has_its_folder() -> None:
    chosen = quality.systems(Vocoder.from_pretrained("default", device="cpu"), "default")
    assert [s.name for s in chosen if s.label.startswith("**")] == [quality.DEFAULT]
    assert quality.FLOOR in [s.name for s in chosen]
    assert len({s.folder for s in chosen}) == len(chosen)


def test_block_is_replaced_and_the_rest_kept() -> None:
    text = "above\n<!-- results: generated -->\nold\n<!-- results: end -->\nbelow\n"
    once = quality.replace_block(text, "results", "new")
    assert once == "above\n<!-- results: generated -->\nnew\n<!-- results: end -->\nbelow\n"
    assert quality.replace_block(once, "results", "new") == once


def test_griffin_lim_floor_is_aligned_speech() -> None:
    """A wrong frame offset would cost the floor its score and flatter the network."""
    vocoder = Vocoder.from_pretrained("default", device="cpu")
    wav = read_audio(ROOT / "tests" / "data" / "839-130898-0000.flac").wav
    estimate = griffin_lim(vocoder.front_end, vocoder.mel(wav))[: len(wav)]
    assert estimate.shape == wav.shape
    assert pesq_wb(wav.numpy(), estimate.numpy()) > 2.5
    envelopes = [x.abs().unfold(0, 400, 160).mean(1) for x in (wav, torch.as_tensor(estimate))]
    lags = range(-4, 5)
    match = [float((envelopes[0][4:-4] * envelopes[1].roll(lag)[4:-4]).sum()) for lag in lags]
    assert lags[int(np.argmax(match))] == 0
