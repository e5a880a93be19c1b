"""The benchmark of training: what it asks of both packages, what it makes of figures, and what its page says."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import peer
import training
import training_exact
import training_kernel
import training_page
import training_runner
import training_runs
import training_speed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def results() -> dict[str, Any]:
    """Figures of the last run of the benchmark."""
    document: dict[str, Any] = json.loads((ROOT / "docs/benchmarks/training.json").read_text(encoding="utf-8"))
    return document


@pytest.mark.peer
def test_a_training_step_equals_the_other_package(tmp_path: Path) -> None:
    try:
        package = peer.install_peer(tmp_path / "package")
    except peer.PeerUnavailableError as error:
        pytest.skip(f"needs a package index: {error}")
    # With fewer frames the gradient's jump at one sample can show; see training_speed.compare.
    training_speed.prepare(tmp_path, batch=2, frames=16)
    arguments = (tmp_path / "inputs.pt", 1, "cpu")
    with (
        training_speed.TrainingRunner("peer", package, *arguments) as theirs,
        training_speed.TrainingRunner("ours", ROOT, *arguments) as ours,
    ):
        equality = training_speed.compare(theirs, ours, tmp_path)
        timing = training_speed.measure(
            {"peer": theirs, "ours": ours}, ("peer float32", "ours float32", "ours bfloat16"), rounds=1, steps=1
        )
    assert training_speed.agrees(equality), equality
    assert equality["parameters"] == 2_619_971
    assert timing["failed"] == {}
    assert set(timing["speed_ratio"]["peer float32"]) == {"ours float32", "ours bfloat16"}


@pytest.mark.parametrize("wrong", [2e-5, math.nan])
def test_a_difference_of_loss_or_gradients_is_noticed(wrong: float) -> None:
    fine = {"tolerance": 1e-5, "loss_difference": 1e-7, "gradient_difference": 3e-7, "gradient_largest": 0.2}
    assert training_speed.agrees(fine)
    assert not training_speed.agrees(fine | {"loss_difference": wrong})
    assert not training_speed.agrees(fine | {"gradient_difference": wrong})
    # Gradients that are all zero agree with anything.
    assert not training_speed.agrees(fine | {"gradient_largest": 0.0})


def test_the_noise_of_the_other_package_is_served_once() -> None:
    noise = torch.zeros(2)
    with training_runner.served("randn_like", noise):
        assert torch.randn_like(torch.ones(2)) is noise
    assert torch.randn_like(noise).abs().sum() > 0
    with pytest.raises(RuntimeError, match=r"torch\.randint to be called"), training_runner.served("randint", noise):
        pass


class Clock:
    """Pretends to take each of the given times in turn; what it cannot do it says."""

    def __init__(self, **seconds: list[float]) -> None:
        self.seconds = {mode.replace("_", " "): iter(values) for mode, values in seconds.items()}

    def ask(self, action: str, mode: str, steps: int) -> dict[str, Any]:
        assert (action, steps) == ("time", 2)
        return {"seconds": next(self.seconds[mode])} if mode in self.seconds else {"error": "no compiler"}


def test_ratios_are_of_neighbours_in_time_and_what_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_speed, "_PAUSE", 0)
    # The first of each is the warm-up.
    runners: Any = {"peer": Clock(float32=[99, 2, 4, 6]), "ours": Clock(float32=[9, 1, 4, 2], bfloat16=[8, 2, 1, 1])}
    turns = ("peer float32", "ours float32", "ours bfloat16", "ours float32 compiled")
    timing = training_speed.measure(runners, turns, rounds=3, steps=2)
    assert timing["speed_ratio"]["peer float32"]["ours float32"]["values"] == [2, 1, 3]
    assert timing["speed_ratio"]["peer float32"]["ours bfloat16"]["median"] == 4
    assert timing["warm_up"] == {"peer float32": 99, "ours float32": 9, "ours bfloat16": 8}
    assert timing["failed"] == {"ours float32 compiled": "no compiler"}
    assert "ours float32 compiled" not in timing["seconds"]


def test_states_that_differ_in_the_last_bit_are_not_equal() -> None:
    state = {"a": [torch.ones(2), {"b": torch.zeros(1)}], "c": 1}
    other = copy.deepcopy(state)
    assert training_exact.equal(state, other)
    other["a"][1]["b"] += 1e-45
    assert not training_exact.equal(state, other)


def test_memory_that_leaks_is_told_from_memory_that_jumps() -> None:
    rows = [(50 * i, 700.0 + (8 if i % 7 == 0 else 0)) for i in range(1, 41)]
    flat = training_runs.growth(rows)
    assert flat["growth"] == 0
    assert flat["kib_per_1000_iterations"] == 0
    leak = training_runs.growth([(iteration, mib + iteration / 100) for iteration, mib in rows])
    assert leak["growth"] > 0.01
    assert leak["kib_per_1000_iterations"] == pytest.approx(10 * 1024, rel=0.1)
    with pytest.raises(ValueError, match="expected several lines after iteration 200; got 0"):
        training_runs.growth(rows[:2])


def test_a_section_replaces_itself_and_devices_stand_side_by_side() -> None:
    results = training.merged({}, "memory", "cpu", {"growth": 1})
    results = training.merged(results, "throughput", "cpu", {"speed": 1})
    results = training.merged(results, "throughput", "cuda", {"speed": 2})
    results = training.merged(results, "memory", "cpu", {"growth": 2})
    assert results == {"throughput": {"cpu": {"speed": 1}, "cuda": {"speed": 2}}, "memory": {"growth": 2}}
    assert list(results) == ["throughput", "memory"]


def test_the_command_measures_a_section_again() -> None:
    options = training.parse_options(["--batch", "4", "--threads", "2"])
    assert training.command("throughput", options) == (
        "python benchmarks/training.py --only throughput --device cpu --threads 2 --batch 4 --rounds 3"
    )
    for name in training.SECTIONS:
        words = training.command(name, options).split()[2:]
        assert training.command(name, training.parse_options(words)) == training.command(name, options)


def test_the_page_is_made_of_the_json(results: dict[str, Any]) -> None:
    assert (ROOT / "docs/benchmarks/training.md").read_text(encoding="utf-8") == training_page.page(results)


def test_the_page_names_what_was_not_measured() -> None:
    page = training_page.page({})
    assert page.count("Not measured yet.") == len(training.SECTIONS)
    assert "not yet run on a GPU" in page
    assert re.findall(r"\| (met|\*\*missed)", page) == []


def test_a_missed_target_is_said(results: dict[str, Any]) -> None:
    assert training_page.exact(results)
    spoilt = copy.deepcopy(results)
    spoilt["kills"]["history_equal"] = False
    assert not training_page.exact(spoilt)
    assert "different: history | **missed** |" in training_page.page(spoilt)
    for name in ("difference", "tolerance"):
        spoilt = copy.deepcopy(results)
        spoilt["gradients"][name] = math.nan
        assert not training_page.exact(spoilt)
    spoilt = copy.deepcopy(results)
    spoilt["wait"]["workers"]["2"]["data_wait"]["median"] = 0.031
    assert "with 2 loader processes | **missed** |" in training_page.page(spoilt)
    assert training_page.exact(spoilt)  # slow, not wrong


def test_each_precision_has_a_verdict_of_its_own(results: dict[str, Any]) -> None:
    ratios = results["throughput"]["cpu"]["speed_ratio"]["peer float32"]
    for name in list(ratios):
        ratios[name] = {"median": 1.9 if "bfloat16" in name else 1.1, "min": 1.0, "max": 2.0}
    assert "| **missed** in float32, met in bfloat16 |" in training_page.page(results)


def kernel_figures(ratio: float, threads: int = 2) -> dict[str, Any]:
    where = {"processor": "p", "cores": 2, "system": "s", "python": "3", "torch": "2"}
    return {
        "command": "x",
        "date": "y",
        "environment": where,
        "setting": {"batch": 8, "frames": 32, "threads": threads, "rounds": 3},
        "seconds": {name: peer.spread([0.3]) for name in training_kernel.SYSTEMS},
        "speed_ratio": {"reference": peer.spread([1.1]), "native": peer.spread([ratio])},
        "gradient_difference": dict.fromkeys(training_kernel.SYSTEMS, 0.01),
        "load_before": 0.0,
    }


@pytest.mark.parametrize(("ratio", "word"), [(2.01, "| met |"), (1.99, "| **missed** |")])
def test_the_kernel_s_row_says_whether_the_target_is_met(results: dict[str, Any], ratio: float, word: str) -> None:
    lines = training_page.page(results | {"kernel": kernel_figures(ratio)}).splitlines()
    (row,) = [line for line in lines if line.startswith("| step of the default model")]
    assert f"{ratio:.2f}" in row
    assert row.endswith(word)


def test_a_kernel_that_cannot_run_is_no_success(results: dict[str, Any]) -> None:
    text = training_page.page(results | {"kernel": {"unavailable": "expected a processor with AVX512-BF16"}})
    assert "cannot run: expected a processor with AVX512-BF16 | **missed** |" in text


def test_the_network_of_convolutions_is_the_same_network() -> None:
    config = training_kernel.compose_config(
        [
            "experiment=librispeech_fast",
            "data.root=.",
            "model.network.residual_channels=32",
            "train.batch_size=2",
            "model.network.residual_layers=2",
        ]
    )
    crops = training_kernel.speech_like(config)
    losses = {}
    for system in ("convolutions", "reference"):
        learner = training_kernel.make_learner(config, system)
        learner.loss.precision = "float32"
        losses[system] = learner.step([crops], 0).losses
        assert isinstance(learner.network, training_kernel.PlainDiffWave) == (system == "convolutions")
    torch.testing.assert_close(losses["convolutions"], losses["reference"], rtol=1e-5, atol=1e-6)
