"""Goals of the project for quality, each beside what was measured; made of the results alone.

A goal with a limit is judged by the mean, and where the interval reaches over the limit it says so. A goal beside
another system is judged by the paired difference: where its interval holds 0, the two are not told apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.quality.systems import DEFAULT, FLOORS, MOST_CALLS, calls
from benchmarks.quality.tables import markdown
from diffwave.evaluation.metrics import METRICS

Results = dict[str, Any]
MET, MISSED, OPEN = "met", "**missed**", "**not told apart**"
BY_THE_MEAN = " (by the mean)"
# Of the mean and of both ends of the interval, whether they keep the limit.
_Kept = tuple[bool, bool, bool]


class Judgement(NamedTuple):
    """What was measured, in figures, and the verdict, in words."""

    said: str
    verdict: str


class Goal(NamedTuple):
    """A goal in words and in figures, and how results are judged by it; None if the figures are not there."""

    what: str
    wanted: str
    judge: Callable[[Results], Judgement | None]


def best_floor(results: Results) -> str | None:
    """Name of the system without a network that has the largest PESQ; None if none has any."""
    scores = {system["name"]: system["scores"]["pesq_wb"]["mean"] for system in results["systems"]}
    floors = [name for name in FLOORS if scores.get(name) is not None]
    return max(floors, key=lambda name: float(scores[name]), default=None)


def limited(side: str, limit: float, *metrics: str) -> Callable[[Results], Judgement | None]:
    """A limit for the default's mean of some metrics, all of which have to keep it.

    Args:
        side: ``at least``, ``at most`` or ``within`` (on both sides of zero).
        limit: in the unit of the metrics.
        metrics: their names.
    """

    def judge(results: Results) -> Judgement | None:
        scores = next(system["scores"] for system in results["systems"] if system["name"] == DEFAULT)
        if any(scores.get(metric, {"mean": None})["mean"] is None for metric in metrics):
            return None
        said = ", ".join(_figure(metric, scores[metric], "mean") for metric in metrics)
        return Judgement(said, limit_verdict([kept(side, limit, scores[metric], "mean") for metric in metrics]))

    return judge


def beside_floor(metric: str) -> Callable[[Results], Judgement | None]:
    """The default is better than the best floor, paired by utterance."""

    def judge(results: Results) -> Judgement | None:
        floor = best_floor(results)
        row = None if floor is None else _compared(results, floor, metric)
        if row is None:
            return None
        # One speaker gives no interval, and so no telling apart.
        verdict = {"a": MET, "b": MISSED}.get(row["verdict"], OPEN)
        return Judgement(f"{_difference(results, row)}; better in {row['a_better']} of {row['n']}", verdict)

    return judge


def few_calls(limit: float) -> Callable[[Results], Judgement | None]:
    """The default's PESQ is at most so far below that of many network calls, paired by utterance."""

    def judge(results: Results) -> Judgement | None:
        row = _compared(results, calls(MOST_CALLS), "pesq_wb")
        if row is None:
            return None
        return Judgement(_difference(results, row), limit_verdict([kept("at least", -limit, row, "difference")]))

    return judge


def kept(side: str, limit: float, row: dict[str, Any], name: str) -> _Kept:
    """Whether a figure keeps a limit, and both ends of its interval; without an interval they are on both sides."""

    def keeps(value: float) -> bool:
        if side == "within":
            return abs(value) <= limit
        return value >= limit if side == "at least" else value <= limit

    if row["low"] is None:
        return keeps(row[name]), True, False
    return keeps(row[name]), keeps(row["low"]), keeps(row["high"])


def limit_verdict(all_kept: list[_Kept]) -> str:
    """Met if every mean keeps the limit; said to be so by the mean if an end of an interval would change that."""
    if all(mean for mean, _, _ in all_kept):
        return MET + BY_THE_MEAN * (not all(low and high for _, low, high in all_kept))
    # One metric that certainly breaks the limit is enough.
    certain = any(not (mean or low or high) for mean, low, high in all_kept)
    return MISSED + BY_THE_MEAN * (not certain)


def _compared(results: Results, other: str, metric: str) -> dict[str, Any] | None:
    """The paired difference of the default from another system; pitch has an evaluation of its own."""
    rows = [*results["comparisons"], *results.get("pitch", {}).get("comparisons", [])]
    found = [row for row in rows if (row["a"], row["b"], row["metric"]) == (DEFAULT, other, metric)]
    return found[0] if found else None


def _difference(results: Results, row: dict[str, Any]) -> str:
    """Both means, and their paired difference with its interval."""
    metric = row["metric"]
    systems = [*results["systems"], *results.get("pitch", {}).get("systems", [])]
    scores = {system["name"]: system["scores"][metric] for system in systems if metric in system["scores"]}
    means = [f"{scores[row[side]]['mean']:.{METRICS[metric].decimals}f}" for side in ("a", "b")]
    return f"{means[0]} against {means[1]}: {_figure(metric, row, 'difference', '+')}"


def _figure(metric: str, row: dict[str, Any], name: str, sign: str = "") -> str:
    digits = METRICS[metric].decimals
    sign = "+" if METRICS[metric].better == "zero" else sign
    if row["low"] is None:
        return f"{row[name]:{sign}.{digits}f}"
    return f"{row[name]:{sign}.{digits}f} [{row['low']:{sign}.{digits}f}, {row['high']:{sign}.{digits}f}]"


_BIAS = ("bias_low", "bias_mid", "bias_high")
GOALS = (
    Goal("PESQ-WB", "≥ 3.75", limited("at least", 3.75, "pesq_wb")),
    Goal("PESQ-WB beside the best floor", "higher", beside_floor("pesq_wb")),
    Goal("ESTOI", "≥ 0.945", limited("at least", 0.945, "estoi")),
    Goal("periodicity RMSE beside the best floor", "lower", beside_floor("periodicity_pyin")),
    Goal("F0 RMSE (cents) beside the best floor", "lower", beside_floor("f0_rmse")),
    Goal("MR-STFT (level-aligned) beside the best floor", "lower", beside_floor("mr_stft_aligned")),
    Goal(f"PESQ-WB beside {calls(MOST_CALLS)}", "at most 0.05 lower", few_calls(0.05)),
    Goal("energy bias in each of three bands (nat)", "within ± 0.05", limited("within", 0.05, *_BIAS)),
    Goal("level in silence (dB)", "within ± 3", limited("within", 3.0, "silence")),
    Goal("PESQ-WB, the higher goal", "≥ 4.36", limited("at least", 4.36, "pesq_wb")),
    Goal("ESTOI, the higher goal", "≥ 0.98", limited("at least", 0.98, "estoi")),
    Goal("MR-STFT (not level-aligned), the higher goal", "≤ 0.80", limited("at most", 0.80, "mr_stft")),
)


def section(results: Results) -> list[str]:
    """The goals with what was measured, as lines of the page."""
    floor = best_floor(results)
    named = f" The best floor is the one with the largest PESQ: {results['labels'][floor]}." if floor else ""
    return [
        "## Goals",
        "",
        "Of the default setting; with the 95 % interval. Differences are paired by utterance (the default's score "
        f"minus the other's).{named} *Not told apart*: the interval of the difference holds 0. *By the mean*: the "
        "interval reaches over the limit, so that other speakers might give another verdict.",
        "",
        *goal_table(results),
        "",
    ]


def goal_table(results: Results) -> list[str]:
    """Goal beside figure, a row each."""
    judged = [(goal, goal.judge(results) or Judgement("not measured", "")) for goal in GOALS]
    return markdown(
        ["what", "goal", "measured", ""], [(goal.what, goal.wanted, one.said, one.verdict) for goal, one in judged], 4
    )
