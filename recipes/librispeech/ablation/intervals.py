"""Means over utterances and seeds with intervals, and paired differences from the default variant."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffwave.evaluation.metrics import METRICS
from diffwave.evaluation.statistics import Interval, cluster_interval, two_way_interval

# A score by seed and utterance; floors have no seed.
Scores = dict[tuple[int, str], float]


def pool(results: list[dict[str, Any]], system: str, metric: str) -> Scores:
    """Scores of a system over all seeds, of the utterances that have one."""
    return {
        (int(result.get("seed", 0)), utterance): float(row["scores"][metric])
        for result in results
        for utterance, row in result["systems"][system].items()
        if metric in row["scores"]
    }


def speakers(results: list[dict[str, Any]]) -> dict[str, str]:
    """Speaker of each utterance."""
    return {
        name: row["speaker"] for result in results for rows in result["systems"].values() for name, row in rows.items()
    }


def interval(scores: Scores, voices: dict[str, str]) -> Interval:
    """Mean with a 95 % interval.

    With one seed, a bootstrap of speakers; it says nothing of other seeds. With several, seeds and speakers are both
    drawn from many: crossed random effects, and so few seeds make wide intervals where they differ.
    """
    values = np.array(list(scores.values()))
    seeds, clusters = [seed for seed, _ in scores], [voices[name] for _, name in scores]
    if len(set(seeds)) > 1:
        return two_way_interval(values, seeds, clusters)
    return cluster_interval(values, clusters)


def difference(scores: Scores, default: Scores, voices: dict[str, str], metric: str) -> Interval:
    """Paired difference from the default, by seed and utterance; of distances from zero where zero is best.

    Args:
        scores, default: of the two variants; what only one of them has is left out.
        voices: speaker of each utterance.
        metric: for its direction.
    """
    distance = abs if metric in METRICS and METRICS[metric].better == "zero" else float
    return interval({k: distance(scores[k]) - distance(default[k]) for k in scores if k in default}, voices)


def verdict(found: Interval, metric: str) -> str:
    """``better``, ``worse``, or ``not separable`` where the interval holds zero or there is none."""
    if not (found.low > 0 or found.high < 0):
        return "not separable"
    rises = found.low > 0
    lower_is_better = metric in METRICS and METRICS[metric].better in ("lower", "zero")
    return "better" if rises != lower_is_better else "worse"


def rank(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by mean PESQ of the consistent outputs (of the only ones, for floors), best first."""

    def key(row: dict[str, Any]) -> float:
        mean = row["systems"]["consistent"].get("pesq_wb", {}).get("mean")
        return -mean if mean is not None else np.inf

    return sorted(rows, key=key)
