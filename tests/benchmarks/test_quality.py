"""The results page is made of the scores and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

import quality_page
import quality_systems
from diffwave.audio import read_audio
from diffwave.baseline import griffin_lim
from diffwave.cli import baseline, synthesize
from diffwave.config import SamplingConfig
from diffwave.evaluation.perceptual import pesq_wb
from diffwave.vocoder import Vocoder

ROOT = Path(__file__).resolve().parents[2]


def _score(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.25, "high": mean + 0.25, "median": mean}


def _results() -> dict[str, Any]:
    """What an evaluation of two systems would leave."""
    names = (*quality_page.COLUMNS, *quality_page.ENERGY, *quality_page.PITCH)
    scores = {name: _score(2.0 + i) for i, name in enumerate(names)}
    chosen = quality_systems.systems(SamplingConfig(consistency_iterations=3), "default")
    compared = {"difference": 0.5, "low": 0.25, "high": 0.75, "a_better": 3, "n": 4, "p_holm": 0.0001}
    return {
        "labels": {system.name: system.label for system in chosen},
        "commands": {system.name: system.line for system in chosen},
        "systems": [{"name": system.name, "rows": 4, "speakers": 4, "scores": scores} for system in chosen],
        "comparisons": [
            {"a": "default", "b": other, "metric": "pesq_wb", **compared}
            for other in (quality_systems.FLOOR, "50 steps")
        ],
        "split": "val",
        "command": "python benchmarks/quality.py",
        "training": {"iterations": 7, "batch_size": 2, "crop_seconds": 0.5, "seconds": 60, "device": "cpu"},
        "environment": {"processor": "x", "threads": 2, "python": "3", "torch": "2", "device": "cpu"},
        "pitch": {"systems": [{"name": "default", "scores": scores}]},
    }


def test_table_shows_each_system_with_half_of_its_interval() -> None:
    results = _results()
    results["systems"][0]["scores"] = {**results["systems"][0]["scores"], "estoi": _score(3.0) | {"mean": None}}
    header, _, row, *_ = quality_page.table(results).splitlines()
    assert header.startswith("| system | PESQ-WB | ESTOI")
    assert row.startswith("| **default: 6 steps, mel-consistent sampling** | 2.00 ± 0.25 | — |")
    assert "| +6.000 ± 0.250 | 7.000 |" in row
    assert len(quality_page.table(results, names=["default"]).splitlines()) == 3


def test_page_has_every_table_and_the_command_of_every_row() -> None:
    results = _results()
    text = quality_page.page(results)
    for system in quality_systems.systems(SamplingConfig(consistency_iterations=3), "default"):
        assert f"| {system.label} | `{system.line}` |" in text
    assert text.count("| PESQ-WB | +0.50 | [+0.25, +0.75] | 3 of 4 | < .001 |") == 2
    assert "| system | periodicity RMSE (pyin) |" in text
    assert "| system | level (dB) | energy bias 0-1 kHz (nat) |" in text
    assert "7 iterations of 2 crops of 0.5 s, 1 minutes on cpu" in text


def test_the_default_setting_is_marked_and_every_system_has_its_folder() -> None:
    chosen = quality_systems.systems(Vocoder.from_pretrained("default", device="cpu").config.sampling, "default")
    assert [s.name for s in chosen if s.label.startswith("**")] == [quality_systems.DEFAULT]
    assert {quality_systems.FLOOR, quality_systems.ALONE, *quality_systems.PITCHED} <= {s.name for s in chosen}
    assert len({s.folder for s in chosen}) == len(chosen)
    for system in chosen:
        command = system.line.replace("REFERENCE", "in").replace("diffwave ", "").split()
        parse = {"synthesize": synthesize.parser, "baseline": baseline.parser}[command[0]]
        assert parse().parse_args(command[1:]).output == Path("OUT")


def test_the_floor_has_as_many_iterations_as_the_default() -> None:
    count = quality_systems.all_iterations
    settings = SamplingConfig(consistency_iterations=7, step_iterations=5, warm_iterations=11)
    assert count(settings, 6) == 7
    assert count(dataclasses.replace(settings, consistency_at="steps"), 6) == 7 + 5 * 5
    assert count(dataclasses.replace(settings, consistency_at="warm"), 6) == 11 + 5 * 5 + 7
    assert count(SamplingConfig(consistency_at="warm"), 6) == 0


def test_block_is_replaced_and_the_rest_kept() -> None:
    text = "above\n<!-- results: generated -->\nold\n<!-- results: end -->\nbelow\n"
    once = quality_page.replace_block(text, "results", "new")
    assert once == "above\n<!-- results: generated -->\nnew\n<!-- results: end -->\nbelow\n"
    assert quality_page.replace_block(once, "results", "new") == once


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
