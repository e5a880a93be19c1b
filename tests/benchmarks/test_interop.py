"""The page of imports and exports is made of its figures, and a difference anywhere is noticed."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

interop = pytest.importorskip("benchmarks.peers.interop", reason="needs the extra onnx")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def results() -> dict[str, Any]:
    """Figures of the last run of the benchmark."""
    document: dict[str, Any] = json.loads((ROOT / "docs/benchmarks/interop.json").read_text(encoding="utf-8"))
    return document


def test_the_page_is_made_of_the_json(results: dict[str, Any]) -> None:
    assert (ROOT / "docs/benchmarks/interop.md").read_text(encoding="utf-8") == interop.page(results)


@pytest.mark.parametrize("wrong", [2e-4, math.nan])
def test_a_difference_anywhere_is_noticed(results: dict[str, Any], wrong: float) -> None:
    assert interop.worst(results) <= results["tolerance"] == 1e-4
    for place in ("import", "step", "chain"):
        spoilt = copy.deepcopy(results)
        if place == "import":
            spoilt["imports"][-1]["figures"]["full two"]["difference"] = wrong
        elif place == "step":
            spoilt["export"]["step_difference"] = wrong
        else:
            spoilt["export"]["chains"][0]["difference"] = wrong
        assert not interop.worst(spoilt) <= results["tolerance"], place


def test_what_was_compared_can_tell(results: dict[str, Any]) -> None:
    """Outputs that are silent, clipped or independent of the mel would be equal for nothing."""
    for row in results["imports"]:
        for kind, figures in row["figures"].items():
            assert figures["rms"] > 0.05, (row["project"], kind)
            assert kind == "mel" or figures["clipped"] < 0.7, (row["project"], kind)
        assert row["figures"]["full two"]["moved"] > 50 * results["tolerance"], row["project"]
