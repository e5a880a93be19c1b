"""The page of ``benchmarks.kernels`` with and without figures of a GPU."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kernels.page import page, worst_ratio
from benchmarks.kernels.roofline import MODELS, layer_costs

FOLDER = Path(__file__).parents[2] / "docs" / "benchmarks"


@pytest.fixture
def results() -> Any:
    return json.loads((FOLDER / "kernels.json").read_text(encoding="utf-8"))


def with_gpu(results: Any) -> Any:
    """Made-up figures: the fused way takes twice the limit."""
    found = copy.deepcopy(results)
    times = {
        "eager": {"median_ms": 9.0, "low_ms": 8.0, "high_ms": 10.0},
        "fused": {"median_ms": 2.0, "low_ms": 1.9, "high_ms": 2.5},
    }
    row = {"model": "BASE", "batch": 16, "seconds": 4, "limit_ms": 1.0, "times": times}
    kinds = {kind: [row] for kind in ("layer", "synthesis", "training")}
    timings = {"device": "Some GPU", "cuda": "13.0", "rounds": 30, **kinds}
    found["gpu"] = {"errors": results["interpreter"], "timings": timings}
    return found


def test_the_page_is_what_its_figures_make(results: Any) -> None:
    assert (FOLDER / "kernels.md").read_text(encoding="utf-8") == page(results)


def test_without_a_gpu_it_says_so_and_shows_no_times(results: Any) -> None:
    results["gpu"] = None
    assert "Not yet run on a GPU" in page(results)
    assert "Medians" not in page(results)


def test_with_a_gpu_it_shows_times_and_their_share_of_the_limit(results: Any) -> None:
    shown = page(with_gpu(results))
    assert "Not yet run" not in shown
    assert "| BASE | 16 × 4 s | 9.000 (8.000–10.000) | 2.000 (1.900–2.500) | 1.000 | 50% |" in shown


def test_an_error_beyond_the_budget_is_called_so(results: Any) -> None:
    assert worst_ratio(results["interpreter"]) <= 2
    results["interpreter"]["backward"][0]["fused"] = 3 * results["interpreter"]["backward"][0]["eager"]
    assert "**beyond** the budget" in page(results)


def test_operations_of_a_layer_are_those_of_its_products() -> None:
    channels, bands = 64, 80
    kept, anew, forward, _ = layer_costs(channels)
    products = 2 * (3 * channels) * (2 * channels) + 2 * channels * (2 * channels)
    assert kept["useful_flops"] == kept["issued_flops"] == products
    assert anew["useful_flops"] == products + 2 * bands * 2 * channels
    assert forward["bytes"] - anew["bytes"] == 2 * 2 * channels  # gate and signal, kept for the backward pass
    assert {model.name: (model.channels, model.layers) for model in MODELS} == {
        "BASE": (64, 30),
        "fast": (96, 12),
        "LARGE": (128, 30),
    }
