"""The benchmark of the service: what counts as a failure, and that its page is the one of its figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

httpx = pytest.importorskip("httpx", reason="the benchmark's clients")
serving = pytest.importorskip("benchmarks.serving")
DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"


def wav(samples: list[int]) -> bytes:
    return b"\0" * 44 + np.array(samples, "<i2").tobytes()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(200, content=wav([1, 2, -3])), ""),
        (httpx.Response(200, content=wav([1, 3, -4])), ""),
        (httpx.Response(200, content=wav([1, 4, -3])), "differs by 2"),
        (httpx.Response(200, content=wav([1, 2])), "2 samples, alone 3"),
        (httpx.Response(503, json={"error": "busy"}), "503"),
    ],
)
def test_what_counts_as_a_failure(answer: object, said: str) -> None:
    failure = serving._failure(answer, wav([1, 2, -3]))
    assert (said in failure) if said else failure == ""


def test_the_page_is_that_of_the_figures_and_nothing_failed() -> None:
    results = json.loads((DOCS / "serving.json").read_text(encoding="utf-8"))
    assert (DOCS / "serving.md").read_text(encoding="utf-8") == serving.page(results)
    assert (results["clients"], results["seconds"]) == (50, 60)
    for row in results["loads"].values():
        assert row["failed"] == 0, row["failures"]
        assert row["requests"] > 50
