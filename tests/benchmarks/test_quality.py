"""The results page is made of the scores and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import report
from benchmarks.quality import page as quality_page
from benchmarks.quality import systems as quality_systems
from benchmarks.quality import tables as quality_tables
from diffwave.audio.file import read_audio
from diffwave.cli import baseline, synthesize
from diffwave.config import MelConfig, ModelConfig, SamplingConfig, mel_preset
from diffwave.evaluation.perceptual import pesq_wb
from diffwave.mel.baseline import griffin_lim
from diffwave.vocoder import Vocoder

ROOT = Path(__file__).resolve().parents[2]


def _score(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.25, "high": mean + 0.25, "median": mean}


def _results(split: str = "val") -> dict[str, Any]:
    """What an evaluation of two systems would leave."""
    names = (*quality_tables.COLUMNS, *quality_tables.ENERGY, *quality_tables.PITCH)
    scores = {name: _score(2.0 + i) for i, name in enumerate(names)}
    chosen = quality_systems.systems(ModelConfig(sampling=SamplingConfig(consistency_iterations=3)), "default", split)
    compared = {"difference": 0.5, "low": 0.25, "high": 0.75, "a_better": 3, "n": 4, "p_holm": 0.0001}
    return {
        "labels": {system.name: system.label for system in chosen},
        "commands": {system.name: system.line for system in chosen},
        "systems": [
            {"name": system.name, "rows": 4, "speakers": 4, "status": {"ok": 4}, "scores": scores} for system in chosen
        ],
        "comparisons": [
            {"a": "default", "b": other, "metric": "pesq_wb", **compared}
            for other in (quality_systems.FLOOR, "50 steps")
        ],
        "split": split,
        "checkpoint": "default",
        "mel": mel_preset("default").describe(),
        "command": "python -m benchmarks.quality",
        "training": {"iterations": 7, "batch_size": 2, "crop_seconds": 0.5, "seconds": 60, "device": "cpu"},
        "environments": {
            system.name: {"processor": "x", "threads": 2, "python": "3", "torch": "2", "device": "cpu"}
            for system in chosen
        },
        "pitch": {"systems": [{"name": "default", "rows": 4, "status": {"ok": 4}, "scores": scores}]},
    }


def test_table_shows_each_system_with_half_of_its_interval() -> None:
    results = _results()
    results["systems"][0]["scores"] = {**results["systems"][0]["scores"], "estoi": _score(3.0) | {"mean": None}}
    header, _, row, *_ = quality_tables.table(results).splitlines()
    assert header.startswith("| system | PESQ-WB | ESTOI")
    assert row.startswith("| **default: 6 steps, mel-consistent sampling** | 2.00 ± 0.25 | — |")
    assert "| +6.000 ± 0.250 | 7.000 |" in row
    assert len(quality_tables.table(results, names=["default"]).splitlines()) == 3


@pytest.mark.parametrize("name", ["results", "results-10ms", "results-val", "results-10ms-val"])
def test_pages_are_those_of_their_figures(name: str) -> None:
    found = report.read(ROOT / "docs" / f"{name}.json")
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == quality_page.page(found)


def test_page_has_every_table_and_the_command_of_every_row() -> None:
    results = _results()
    text = quality_page.page(results)
    for system in quality_systems.systems(ModelConfig(sampling=SamplingConfig(consistency_iterations=3)), "default"):
        assert f"| {system.label} | `{system.line}` |" in text
    assert text.count("| PESQ-WB | +0.50 | [+0.25, +0.75] | 3 of 4 | < .001 |") == 2
    assert "| system | periodicity RMSE (pyin) |" in text
    assert "| system | level (dB) | energy bias 0-1 kHz (nat) |" in text
    assert "7 iterations of 2 crops of 0.5 s, 1 minutes on cpu" in text


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_default_setting_is_marked_and_every_system_has_its_folder(split: str) -> None:
    config = Vocoder.from_pretrained("default", device="cpu").config
    chosen = quality_systems.systems(config, "default", split)
    assert [s.name for s in chosen if s.label.startswith("**")] == [quality_systems.DEFAULT]
    assert {*quality_systems.ELSEWHERE, *quality_systems.FLOORS, *quality_page.SHOWN} <= {s.name for s in chosen}
    assert len({s.folder for s in chosen}) == len(chosen)
    for system in chosen:
        command = system.line.replace("REFERENCE", "in").replace("diffwave ", "").split()
        parse = {"synthesize": synthesize.parser, "baseline": baseline.parser}[command[0]]
        assert parse().parse_args(command[1:]).output == Path("OUT")


def test_the_test_split_has_default_and_network_alone_at_every_number_of_calls() -> None:
    chosen = quality_systems.systems(
        ModelConfig(sampling=SamplingConfig(steps=6, consistency_iterations=3)), "default", "test"
    )
    settings = [system.command[3:] for system in chosen if system.command[0] == "synthesize"]
    alone = [("--consistency", "0", "--steps", count) for count in ("1", "3", "12")]
    wanted = [(), *(("--steps", count) for count in ("1", "3", "12", "50")), ("--consistency-at", "end")]
    assert sorted(settings) == sorted([*wanted, ("--consistency", "0"), *alone])
    assert [s.name for s in chosen if s.command[0] == "baseline"] == list(quality_systems.FLOORS)


@pytest.mark.parametrize("own", [1, 12, 50])
def test_another_default_number_of_calls_is_no_second_row(own: int) -> None:
    for split in ("val", "test"):
        chosen = quality_systems.systems(ModelConfig(sampling=SamplingConfig(steps=own)), "x", split)
        assert len({s.name for s in chosen}) == len({s.label for s in chosen}) == len(chosen)
        assert all(s.command[-2:] != ("--steps", str(own)) for s in chosen)


def test_page_of_the_test_split_begins_with_the_goals() -> None:
    text = quality_page.page(_results("test"))
    sections = [line for line in text.splitlines() if line.startswith("## ")]
    assert sections == [
        "## Goals",
        "## Every system",
        "## Energy and silence",
        "## Pitch",
        "## The command of each row",
    ]
    assert "(results.csv)" in text
    assert "results-test" not in text
    other = quality_page.page(_results())
    assert "## Goals" not in other
    assert "(results-val.csv)" in other


def test_another_checkpoint_has_fewer_rows_and_floors_of_its_own_mel() -> None:
    config = ModelConfig(mel=mel_preset("10ms"), sampling=SamplingConfig(consistency_iterations=3))
    chosen = quality_systems.systems(config, "10ms", "test")
    assert len(chosen) < len(quality_systems.systems(config, "default", "test"))
    spoken, floors = ([s for s in chosen if s.command[0] == kind] for kind in ("synthesize", "baseline"))
    assert all(s.line.startswith("diffwave synthesize REFERENCE --output OUT --checkpoint 10ms") for s in spoken)
    assert [s.name for s in floors] == list(quality_systems.FLOORS)
    assert all(s.line.endswith(" --mel 10ms") for s in floors)
    with pytest.raises(ValueError, match="expected a mel of one of default, 10ms"):
        quality_systems.preset_of(MelConfig(n_mels=70))


def test_another_checkpoint_has_a_page_of_its_own_that_tells_of_its_mel() -> None:
    results = _results("test") | {"checkpoint": "10ms", "mel": "a mel"}
    text = quality_page.page(results)
    assert text.startswith("# Results on the test split: the checkpoint `10ms`")
    assert "(results-10ms.csv)" in text
    assert "**Its mels are of another convention** (a mel)" in text
    assert quality_page.stem({**results, "split": "val"}) == "results-10ms-val"
    assert quality_page.stem({**results, "checkpoint": "/a/folder", "split": "val"}) == "results-other-val"
    assert "another convention" not in quality_page.page(_results("test") | {"checkpoint": "fine-tuned"})


def test_the_best_floor_is_compared_in_full_if_it_is_another() -> None:
    title = "The default beside the floor with the largest PESQ, paired by utterance"
    results = _results("test")
    best = next(system for system in results["systems"] if system["name"] == quality_systems.SHORT_FLOOR)
    best["scores"] = {**best["scores"], "pesq_wb": _score(3.0)}
    results["comparisons"].append({**results["comparisons"][0], "b": best["name"], "verdict": "a"})
    text = quality_page.page(results)
    assert title in text
    assert "| 2.00 against 3.00: +0.50 [+0.25, +0.75]; better in 3 of 4 | met |" in text
    best["scores"] = {**best["scores"], "pesq_wb": _score(1.0)}
    most = next(system for system in results["systems"] if system["name"] == quality_systems.FLOOR)
    most["scores"] = {**most["scores"], "pesq_wb": _score(3.0)}
    results["comparisons"][0]["verdict"] = "b"
    text = quality_page.page(results)
    assert title not in text
    assert "better in 3 of 4 | **missed** |" in text


def test_page_says_what_is_missing_and_that_conditions_differ() -> None:
    results = _results()
    text = quality_page.page(results)
    assert text.count("Synthesized on x, 2 threads") == 1
    assert "lack a score" not in text
    results["systems"][1]["status"] = {"ok": 3}
    results["environments"]["1 step"]["threads"] = 1
    text = quality_page.page(results)
    assert "left out of its mean: 1 step, as the default: 1." in text
    assert "Synthesized on x, 1 thread, Python 3, torch 2, the networks on cpu (1 step, as the default)." in text
    assert text.count("Synthesized on") == 2


def test_one_speaker_has_means_without_intervals() -> None:
    results = _results()
    results["systems"][0]["scores"] = {
        **results["systems"][0]["scores"],
        "estoi": _score(3.0) | {"low": None, "high": None},
    }
    results["comparisons"][0] |= {"low": None, "high": None, "p_holm": None}
    assert "| 2.00 ± 0.25 | 3.000 |" in quality_tables.table(results)
    assert "| PESQ-WB | +0.50 | — | 3 of 4 | — |" in quality_page.page(results)


def test_the_floor_has_as_many_iterations_as_the_default() -> None:
    count = quality_systems.all_iterations
    settings = SamplingConfig(consistency_iterations=7, step_iterations=5, warm_iterations=11)
    assert count(settings, 6) == 7
    assert count(dataclasses.replace(settings, consistency_at="steps"), 6) == 7 + 5 * 5
    assert count(dataclasses.replace(settings, consistency_at="warm"), 6) == 11 + 5 * 5 + 7
    assert count(SamplingConfig(consistency_at="warm"), 6) == 0
    refined = dataclasses.replace(settings, refinements=3, refinement_iterations=4)
    assert count(refined, 6) == 7 + 2 * 3 * 4


@pytest.mark.parametrize("name", ["README.md", "docs/results.md"])
def test_block_is_replaced_where_it_stands_and_the_rest_kept(name: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for path in (tmp_path / "README.md", tmp_path / "docs/results.md"):
        path.write_text("no block\n")
    text = "above\n<!-- results: generated -->\nold\n<!-- results: end -->\nbelow\n"
    (tmp_path / name).write_text(text)
    for _ in range(2):
        report.write_block("results", "new", tmp_path)
        assert (tmp_path / name).read_text() == text.replace("old", "new")
    assert sorted(path.read_text() for path in tmp_path.rglob("*.md"))[1] == "no block\n"


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
