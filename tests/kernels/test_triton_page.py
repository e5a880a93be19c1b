"""The page of ``benchmarks.kernels.gpu`` with made-up figures, and the definition's ways on a CPU."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="the benchmark imports the kernels")
from benchmarks.kernels import gpu


def test_it_shows_times_and_their_share_of_the_limit() -> None:
    times = {
        "eager": {"median": 9.0, "low": 8.0, "high": 10.0},
        "fused": {"median": 2.0, "low": 1.9, "high": 2.5},
    }
    row = {"model": "BASE", "batch": 16, "seconds": 4, "limit_ms": 1.0, "times": times}
    where = {"gpu": "Some GPU", "processor": "p", "cores": 2, "system": "s", "python": "3", "torch": "2"}
    shown = gpu.page({"command": "c", "environment": where, "rounds": 30, "synthesis": [row], "training": [row]})
    line = "| BASE | 16 × 4 s | 9.000 (8.000 to 10.000) | 2.000 (1.900 to 2.500) | 1.000 | 50% |"
    assert shown.count(line) == 2
    assert "Some GPU" in shown


def test_the_definition_runs_and_learns_as_it_is_timed() -> None:
    model = gpu.Model("small", 8, 2, 2, 100)
    case = gpu.random_case(model, 50, 2, device="cpu")
    assert gpu.eager(case)().shape == case.x.shape
    gpu.training_step(gpu.reference_stack, case)()
    assert all(torch.isfinite(value.grad).all() for value in (case.x, case.shifts, case.layers[0].dilated_weight))


def test_the_limit_is_of_operations_or_of_bytes() -> None:
    base, large = gpu.MODELS[0], gpu.MODELS[2]
    positions = base.rate * base.layers
    assert gpu.limit(base, 1, training=False) == pytest.approx(1e3 * positions * 6 * 128 / gpu.DRAM)
    products = 2 * (3 * 128) * 256 + 2 * 128 * 256
    least = 1e3 * large.rate * large.layers * products / gpu.FLOPS
    assert gpu.limit(large, 1, training=False) == pytest.approx(least)
    assert gpu.limit(base, 1, training=True) > 3 * gpu.limit(base, 1, training=False)
