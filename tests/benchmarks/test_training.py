"""The benchmark of training: what it asks of both packages, what it makes of figures, and what its page says."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.peers import processes, training, training_page
from benchmarks.peers.given import served
from benchmarks.peers.packages import PeerUnavailableError, install
from benchmarks.report import spread
from diffwave.config.composing import compose_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def results() -> dict[str, Any]:
    """Figures of the last run of the benchmark."""
    document: dict[str, Any] = json.loads((ROOT / "docs/benchmarks/training.json").read_text(encoding="utf-8"))
    return document


@pytest.mark.peer
def test_a_training_step_equals_the_other_package(tmp_path: Path) -> None:
    try:
        package = install("lmnt", tmp_path)
    except PeerUnavailableError as error:
        pytest.skip(f"needs a package index: {error}")
    # With fewer frames the gradient's jump at one sample can show; see training.compare.
    training.prepare(tmp_path, batch=2, frames=16)
    turns = ("peer float32", "ours float32", "ours bfloat16")
    with processes.processes({"lmnt": package}, 1, "cpu") as running:
        equality = training.compare(running, tmp_path)
        timing = training.measure(running, turns, rounds=1, steps=1)
    assert training_page.agrees(equality), equality
    assert equality["parameters"] == 2_619_971
    assert timing["failed"] == {}
    assert set(timing["speed_ratio"]["peer float32"]) == {"ours float32", "ours bfloat16"}


@pytest.mark.parametrize("wrong", [2e-5, math.nan])
def test_a_difference_of_loss_or_gradients_is_noticed(wrong: float) -> None:
    fine = {"tolerance": 1e-5, "loss_difference": 1e-7, "gradient_difference": 3e-7, "gradient_largest": 0.2}
    assert training_page.agrees(fine)
    assert not training_page.agrees(fine | {"loss_difference": wrong})
    assert not training_page.agrees(fine | {"gradient_difference": wrong})
    # Gradients that are all zero agree with anything.
    assert not training_page.agrees(fine | {"gradient_largest": 0.0})


def test_the_noise_of_the_other_package_is_served_once() -> None:
    noise = torch.zeros(2)
    with served([noise], "randn_like"):
        assert torch.equal(torch.randn_like(torch.ones(2)), noise)
    assert torch.randn_like(noise).abs().sum() > 0
    with pytest.raises(RuntimeError, match=r"torch\.randint to be called 1 times"), served([noise], "randint"):
        pass


class Clock:
    """Pretends to take each of the given times in turn; what it cannot do it says."""

    def __init__(self, **seconds: list[float]) -> None:
        self.seconds = {mode.replace("_", " "): iter(values) for mode, values in seconds.items()}

    def request(self, action: str, mode: str, steps: int) -> dict[str, Any]:
        assert (action, steps) == ("train", 2)
        return {"seconds": next(self.seconds[mode])} if mode in self.seconds else {"error": "no compiler"}


def test_ratios_are_of_neighbours_in_time_and_what_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PAUSE", 0)
    # The first of each is the warm-up.
    running: Any = {"lmnt": Clock(float32=[99, 2, 4, 6]), "ours": Clock(float32=[9, 1, 4, 2], bfloat16=[8, 2, 1, 1])}
    turns = ("peer float32", "ours float32", "ours bfloat16", "ours float32 compiled")
    timing = training.measure(running, turns, rounds=3, steps=2)
    assert timing["speed_ratio"]["peer float32"]["ours float32"]["values"] == [2, 1, 3]
    assert timing["speed_ratio"]["peer float32"]["ours bfloat16"]["median"] == 4
    assert timing["warm_up"] == {"peer float32": 99, "ours float32": 9, "ours bfloat16": 8}
    assert timing["failed"] == {"ours float32 compiled": "no compiler"}
    assert "ours float32 compiled" not in timing["seconds"]


def test_the_command_measures_a_section_again() -> None:
    options = training.parse_options(["--batch", "4", "--threads", "2"])
    assert training.command("throughput", options) == (
        "python -m benchmarks.peers.training --only throughput --device cpu --threads 2 --batch 4 --rounds 3"
    )
    for name in training.SECTIONS:
        words = training.command(name, options).split()[3:]
        assert training.command(name, training.parse_options(words)) == training.command(name, options)


def test_the_page_is_made_of_the_json(results: dict[str, Any]) -> None:
    assert (ROOT / "docs/benchmarks/training.md").read_text(encoding="utf-8") == training_page.page(results)


def test_the_page_names_what_was_not_measured() -> None:
    page = training_page.page({})
    assert page.count("Not measured yet.") == 1
    assert page.count("Not yet run on a") == 2
    assert "not yet run on a GPU" in page
    assert re.findall(r"\| (met|\*\*missed)", page) == []


def test_each_precision_has_a_verdict_of_its_own(results: dict[str, Any]) -> None:
    ratios = results["throughput"]["cpu"]["speed_ratio"]["peer float32"]
    for name in list(ratios):
        ratios[name] = {"median": 1.9 if "bfloat16" in name else 1.1, "low": 1.0, "high": 2.0}
    assert "| **missed** in float32, met in bfloat16 |" in training_page.page(results)


def kernel_figures(ratio: float, threads: int = 2) -> dict[str, Any]:
    where = {"processor": "p", "cores": 2, "system": "s", "python": "3", "torch": "2"}
    return {
        "command": "x",
        "date": "y",
        "environment": where,
        "setting": {"batch": 8, "frames": 32, "threads": threads, "rounds": 3},
        "seconds": {name: spread([0.3]) for name in ("reference", "native")},
        "speed_ratio": {"native": spread([ratio])},
        "load_before": 0.0,
    }


@pytest.mark.parametrize(("ratio", "word"), [(2.01, "| met |"), (1.99, "| **missed** |")])
def test_the_kernel_s_row_says_whether_the_target_is_met(results: dict[str, Any], ratio: float, word: str) -> None:
    lines = training_page.page(results | {"kernel": {"cpu": kernel_figures(ratio)}}).splitlines()
    (row,) = [line for line in lines if line.startswith("| step of the default model")]
    assert f"{ratio:.2f}" in row
    assert row.endswith(word)


def test_a_kernel_that_cannot_run_is_no_success(results: dict[str, Any]) -> None:
    text = training_page.page(results | {"kernel": {"cpu": {"unavailable": "expected a processor with AVX512-BF16"}}})
    assert "cannot run: expected a processor with AVX512-BF16 | **missed** |" in text


def test_a_step_moves_the_weights() -> None:
    small = ["model.network.residual_channels=32", "model.network.residual_layers=2", "train.batch_size=2"]
    config = compose_config(["experiment=librispeech_fast", "data.root=.", *small])
    training.make_step(config, "reference", training.speech_like(config))()
