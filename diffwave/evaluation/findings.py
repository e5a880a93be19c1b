"""What the rows say: mean, spread and interval of each system, differences between systems, the floor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from diffwave.evaluation.metrics import RECORD, Metric
from diffwave.evaluation.outcome import Outcome
from diffwave.evaluation.pairs import Pair, System
from diffwave.evaluation.scoring import STATUSES
from diffwave.evaluation.statistics import DRAWS, cluster_interval, cluster_means, holm, wilcoxon

SEED = 0
FLOORS = ("griffin-lim", "mel-consistency")


@dataclass(frozen=True)
class ScoredPair:
    """A pair and what became of it."""

    pair: Pair
    outcome: Outcome


@dataclass(frozen=True)
class Results:
    """All rows of an evaluation, by system and in the order of the utterances.

    Args:
        systems: in the user's order, floors last.
        metrics: the columns.
        rows: of each system.
    """

    systems: tuple[System, ...]
    metrics: tuple[Metric, ...]
    rows: dict[str, list[ScoredPair]]

    def values(self, system: str, metric: str) -> dict[str, float]:
        """Scores by utterance, of the rows that have one."""
        return {
            row.pair.utterance: row.outcome.scores[metric] for row in self.rows[system] if metric in row.outcome.scores
        }

    def speakers(self) -> dict[str, str]:
        """Speaker of every utterance."""
        return {row.pair.utterance: row.pair.speaker for rows in self.rows.values() for row in rows}


def collect(systems: Sequence[System], metrics: Sequence[Metric], outcomes: dict[tuple[str, str], Outcome]) -> Results:
    """Put journal rows into the order of the systems and utterances."""
    rows = {s.name: [ScoredPair(pair, outcomes[pair.system, pair.utterance]) for pair in s.pairs] for s in systems}
    return Results(tuple(systems), tuple(metrics), rows)


def floors(systems: Sequence[System]) -> set[str]:
    """Names of the systems made without a network, by their record; none if there are no others to stand on them."""
    names = {system.name for system in systems if system.origin.get("baseline") in FLOORS}
    return names if len(names) < len(systems) else set()


def summarize(results: Results) -> dict[str, Any]:
    """Everything that the report shows, ready for JSON; the same rows give the same digits."""
    comparisons = compare(results)
    return {
        "metrics": {
            metric.name: {"label": metric.label, "better": metric.better, "definition": metric.definition}
            for metric in results.metrics
        },
        "systems": [_system(results, system) for system in results.systems],
        "comparisons": comparisons,
        "floor": _floor(results, comparisons),
        "intervals": {
            "level": 0.95,
            "method": "bootstrap of speakers, expanded percentiles (Hesterberg 2015); Student's t for fewer than "
            "six speakers",
            "draws": DRAWS,
            "seed": SEED,
        },
        "tests": "Wilcoxon signed-rank on means of speakers, Holm over all rows of the comparison table",
    }


def _system(results: Results, system: System) -> dict[str, Any]:
    rows = results.rows[system.name]
    counts = {status: sum(row.outcome.status == status for row in rows) for status in STATUSES}
    return {
        "name": system.name,
        "folder": str(system.folder),
        "floor": system.name in floors(results.systems),
        "origin": system.origin,
        "rows": len(rows),
        "status": counts,
        "unmatched": list(system.unmatched),
        "speakers": len({row.pair.speaker for row in rows}),
        # Where names do not tell, every utterance counts for itself, and intervals may be too narrow.
        "speakers_known": any(row.pair.speaker != row.pair.utterance for row in rows),
        "scores": {metric.name: _describe(results, system.name, metric) for metric in results.metrics},
    }


def _describe(results: Results, system: str, metric: Metric) -> dict[str, Any]:
    """Location and spread of a column."""
    found = results.values(system, metric.name)
    values = np.array(list(found.values()))
    speakers = results.speakers()
    interval = cluster_interval(values, [speakers[name] for name in found], seed=SEED)
    spread = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95]) if len(values) else (math.nan,) * 3
    return _plain(
        {
            "n": len(values),
            # A figure that is not recorded is no failure.
            "failed": 0 if metric.kind == RECORD else len(results.rows[system]) - len(values),
            "mean": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "sd": spread,
            "median": float(middle),
            "p5": float(low),
            "p95": float(high),
        }
    )


def compare(results: Results) -> list[dict[str, Any]]:
    """Paired differences of every two systems, except of two floors, on the utterances that both have scores of."""
    under = floors(results.systems)
    pairs = [(a, b) for a, b in combinations(results.systems, 2) if not {a.name, b.name} <= under]
    metrics = [metric for metric in results.metrics if metric.better and metric.kind != RECORD]
    rows = [_difference(results, a.name, b.name, metric) for a, b in pairs for metric in metrics]
    rows = [row for row in rows if row["n"]]
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted
    return [_plain(row) for row in rows]


def _difference(results: Results, a: str, b: str, metric: Metric) -> dict[str, Any]:
    """How much better ``a`` is than ``b``; for metrics that should be near zero, absolute values are compared."""
    first, second = results.values(a, metric.name), results.values(b, metric.name)
    common = [name for name in first if name in second]
    sides = [np.array([side[name] for name in common]) for side in (first, second)]
    if metric.better == "zero":
        sides = [np.abs(side) for side in sides]
    differences = sides[0] - sides[1]
    speakers = results.speakers()
    clusters = [speakers[name] for name in common]
    interval = cluster_interval(differences, clusters, seed=SEED)
    sign = 1 if metric.better == "higher" else -1
    return {
        "a": a,
        "b": b,
        "metric": metric.name,
        "n": len(common),
        "dropped": len({*first, *second, *_names(results, a), *_names(results, b)}) - len(common),
        "difference": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "a_better": int((sign * differences > 0).sum()),
        "b_better": int((sign * differences < 0).sum()),
        "p": wilcoxon(cluster_means(differences, clusters)) if common else math.nan,
        "verdict": _verdict(sign * interval.low, sign * interval.high),
    }


def _names(results: Results, system: str) -> set[str]:
    return {row.pair.utterance for row in results.rows[system]}


def _verdict(one: float, other: float) -> str:
    """Which side an interval of the improvement lies on."""
    low, high = min(one, other), max(one, other)
    if math.isnan(low):
        return "unknown"
    return "a" if low > 0 else "b" if high < 0 else "open"


def _floor(results: Results, comparisons: list[dict[str, Any]]) -> dict[str, Any]:
    """Where systems with a network do not beat those without."""
    under = floors(results.systems)
    verdicts = []
    for row in comparisons:
        if row["b"] in under or row["a"] in under:
            system, floor = (row["a"], row["b"]) if row["b"] in under else (row["b"], row["a"])
            if row["verdict"] == "unknown":
                continue  # one speaker: there is no interval
            sides = {"a": row["a"], "b": row["b"]}
            verdict = {system: "better", floor: "worse"}.get(sides.get(row["verdict"], ""), "open")
            about = {"system": system, "floor": floor, "metric": row["metric"]}
            verdicts.append({**about, "verdict": verdict, "beats": verdict == "better"})
    return {"systems": [s.name for s in results.systems if s.name in under], "verdicts": verdicts}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: what is not known is null."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
