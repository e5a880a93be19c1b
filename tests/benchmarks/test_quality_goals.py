"""Goals are met, missed or not told apart as the figures say, and nothing is judged that was not measured."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.quality import goals as quality_goals
from benchmarks.quality.goals import beside_floor, few_calls, limited
from benchmarks.quality.systems import DEFAULT, FLOOR, FLOORS, GRIFFIN_LIM_60, SHORT_FLOOR


def _score(mean: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"mean": mean, "low": low, "high": high}


def _results(**scores: Any) -> dict[str, Any]:
    """The default with these scores, and floors of which the shorter one has the largest PESQ."""
    pesq = {GRIFFIN_LIM_60: 2.0, SHORT_FLOOR: 3.5, FLOOR: 3.25, "50 steps": 4.0}
    others = [{"name": name, "scores": {"pesq_wb": _score(value)}} for name, value in pesq.items()]
    default = {"name": DEFAULT, "scores": {"pesq_wb": _score(3.75, 3.5, 4.0), **scores}}
    return {
        "systems": [default, *others],
        "comparisons": [],
        "labels": {system["name"]: f"label of {system['name']}" for system in [default, *others]},
    }


def _compare(results: dict[str, Any], other: str, difference: float, half: float, verdict: str) -> None:
    row = {"a": DEFAULT, "b": other, "metric": "pesq_wb", "difference": difference, "a_better": 3, "n": 4}
    results["comparisons"].append(row | {"low": difference - half, "high": difference + half, "verdict": verdict})


@pytest.mark.parametrize(
    ("side", "limit", "mean", "low", "high", "verdict"),
    [
        ("at least", 4.0, 4.25, 4.0, 4.5, "met"),
        ("at least", 4.0, 4.25, 3.75, 4.5, "met (by the mean)"),
        ("at least", 4.0, 3.75, 3.5, 4.25, "**missed** (by the mean)"),
        ("at least", 4.0, 3.75, 3.5, 3.875, "**missed**"),
        ("at most", 4.0, 3.75, 3.5, 4.0, "met"),
        ("at most", 4.0, 3.75, 3.5, 4.25, "met (by the mean)"),
        ("at most", 4.0, 4.25, 4.125, 4.5, "**missed**"),
        ("within", 3.0, -2.0, -3.0, 3.0, "met"),
        ("within", 3.0, -2.0, -3.5, 1.0, "met (by the mean)"),
        ("within", 3.0, -3.5, -4.0, -2.0, "**missed** (by the mean)"),
        ("within", 3.0, 3.5, 3.25, 4.0, "**missed**"),
        ("at least", 4.0, 4.25, None, None, "met (by the mean)"),
    ],
)
def test_a_limit_is_judged_by_the_mean_and_the_interval_says_how_surely(
    side: str, limit: float, mean: float, low: float | None, high: float | None, verdict: str
) -> None:
    judged = limited(side, limit, "estoi")(_results(estoi=_score(mean, low, high)))
    assert judged is not None
    assert judged.verdict == verdict


def test_one_of_three_bands_is_enough_to_miss() -> None:
    names = ("bias_low", "bias_mid", "bias_high")
    good, bad = _score(0.0, -0.01, 0.01), _score(-0.25, -0.375, -0.125)
    judge = limited("within", 0.05, *names)
    met = judge(_results(**dict.fromkeys(names, good)))
    missed = judge(_results(**dict.fromkeys(names, good) | {"bias_mid": bad}))
    assert met is not None
    assert missed is not None
    assert (met.verdict, missed.verdict) == ("met", "**missed**")
    assert missed.said == "+0.000 [-0.010, +0.010], -0.250 [-0.375, -0.125], +0.000 [-0.010, +0.010]"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [("a", "met"), ("b", "**missed**"), ("open", "**not told apart**"), ("unknown", "**not told apart**")],
)
def test_beside_the_floor_the_paired_interval_decides(found: str, verdict: str) -> None:
    results = _results()
    # Another floor, whose comparison must not be taken.
    _compare(results, FLOOR, 1.0, 0.25, "a" if found != "a" else "b")
    _compare(results, SHORT_FLOOR, 0.25, 0.5, found)
    judged = beside_floor("pesq_wb")(results)
    assert judged is not None
    assert judged.verdict == verdict
    assert judged.said == "3.75 against 3.50: +0.25 [-0.25, +0.75]; better in 3 of 4"


def test_pitch_is_found_in_its_own_evaluation() -> None:
    results = _results()
    row = {"a": DEFAULT, "b": SHORT_FLOOR, "metric": "f0_rmse", "difference": -2.0, "low": -3.0, "high": -1.0}
    scores = {DEFAULT: 10.0, SHORT_FLOOR: 12.0}
    results["pitch"] = {
        "comparisons": [row | {"verdict": "a", "a_better": 4, "n": 4}],
        "systems": [{"name": name, "scores": {"f0_rmse": _score(value)}} for name, value in scores.items()],
    }
    judged = beside_floor("f0_rmse")(results)
    assert judged is not None
    assert (judged.verdict, judged.said[:14]) == ("met", "10.0 against 1")


@pytest.mark.parametrize(
    ("difference", "half", "verdict"),
    [
        (-0.03125, 0.015625, "met"),
        (-0.03125, 0.03125, "met (by the mean)"),
        (-0.0625, 0.03125, "**missed** (by the mean)"),
        (-0.25, 0.125, "**missed**"),
    ],
)
def test_few_calls_may_cost_so_much(difference: float, half: float, verdict: str) -> None:
    results = _results()
    _compare(results, "50 steps", difference, half, "b")
    judged = few_calls(0.05)(results)
    assert judged is not None
    assert judged.verdict == verdict


def test_the_best_floor_is_the_one_with_the_largest_pesq() -> None:
    results = _results()
    assert quality_goals.best_floor(results) == SHORT_FLOOR
    for system in results["systems"]:
        if system["name"] in FLOORS:
            system["scores"]["pesq_wb"] = _score(None)
    assert quality_goals.best_floor(results) is None


def test_a_goal_without_figures_is_not_judged() -> None:
    rows = quality_goals.goal_table(_results(estoi=_score(None)))[2:]
    assert len(rows) == len(quality_goals.GOALS)
    said = {row.split(" | ")[0].removeprefix("| "): row for row in rows}
    assert said["ESTOI"].endswith("| not measured |  |")
    assert said["PESQ-WB beside the best floor"].endswith("| not measured |  |")
    assert said["PESQ-WB"].endswith("| 3.75 [3.50, 4.00] | met (by the mean) |")
    text = "\n".join(quality_goals.section(_results()))
    assert f"the largest PESQ: label of {SHORT_FLOOR}." in text
