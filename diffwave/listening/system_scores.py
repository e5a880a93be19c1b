"""Scores of systems: means with intervals, differences between systems, scores of single items."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffwave.evaluation.statistics import (
    Interval,
    cluster_means,
    holm,
    independent_interval,
    two_way_interval,
    wilcoxon,
)
from diffwave.listening.design import SYSTEM
from diffwave.listening.ratings import Rating
from diffwave.listening.screening import quartiles


@dataclass(frozen=True)
class SystemScore:
    """The scores of one system.

    Args:
        system, kind: which.
        votes, listeners, items: how many.
        mean: with the interval over listeners and items, cut at the ends of the scale.
        independent: mean with Student's interval as if all votes were independent, which is how P.808 reports it.
        sd, median, first_quartile, third_quartile: of the votes.
    """

    system: str
    kind: str
    votes: int
    listeners: int
    items: int
    mean: Interval
    independent: Interval
    sd: float
    median: float
    first_quartile: float
    third_quartile: float


@dataclass(frozen=True)
class ItemScore:
    """The scores of one system on one item: how many, and the mean with the interval over independent listeners."""

    item: str
    system: str
    votes: int
    mean: Interval


@dataclass(frozen=True)
class SystemDifference:
    """Two systems, on what the same listeners gave them on the same items.

    Args:
        first, second: the systems; the difference is ``first`` minus ``second``.
        pairs, listeners: how many.
        mean: with the interval over listeners and items.
        p: of Wilcoxon's signed-rank test on the listeners' mean differences.
        p_holm: adjusted for the number of comparisons.
    """

    first: str
    second: str
    pairs: int
    listeners: int
    mean: Interval
    p: float
    p_holm: float


def by_system(ratings: Sequence[Rating], order: Mapping[str, str]) -> dict[str, list[Rating]]:
    """Ratings of each system that has some, in the order of ``order``."""
    groups: dict[str, list[Rating]] = {system: [] for system in order}
    for rating in ratings:
        groups[rating.system].append(rating)
    return {system: group for system, group in groups.items() if group}


def cut_interval(interval: Interval, scale: tuple[float, float]) -> Interval:
    """Keep an interval on its scale: no true mean is outside, so nothing is lost."""
    return Interval(interval.mean, *(_clamp(bound, scale) for bound in (interval.low, interval.high)))


def _clamp(value: float, scale: tuple[float, float]) -> float:
    return value if math.isnan(value) else min(max(value, scale[0]), scale[1])


def system_score(group: Sequence[Rating], scale: tuple[float, float]) -> SystemScore:
    """The scores of one system: its ratings, at least one, and the ends of the scale."""
    scores = np.array([r.score for r in group])
    listeners, items = [r.listener for r in group], [r.item for r in group]
    first, third = quartiles(scores)
    return SystemScore(
        system=group[0].system,
        kind=group[0].kind,
        votes=len(group),
        listeners=len(set(listeners)),
        items=len(set(items)),
        mean=cut_interval(two_way_interval(scores, listeners, items), scale),
        independent=cut_interval(independent_interval(scores), scale),
        sd=float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan,
        median=float(np.median(scores)),
        first_quartile=first,
        third_quartile=third,
    )


def item_scores(groups: dict[str, list[Rating]], scale: tuple[float, float]) -> tuple[ItemScore, ...]:
    """The scores of every item and system that were rated."""
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for system, group in groups.items():
        for rating in group:
            scores[rating.item, system].append(rating.score)
    items = sorted({item for item, _ in scores})
    return tuple(
        ItemScore(item, system, len(given), cut_interval(independent_interval(np.array(given)), scale))
        for item, system in itertools.product(items, groups)
        if (given := scores.get((item, system)))
    )


def differences(groups: dict[str, list[Rating]]) -> tuple[SystemDifference, ...]:
    """Every pair of which at least one is a system: how anchors compare with the reference is no question."""
    pairs = [
        _difference(a, b) for a, b in itertools.combinations(groups.values(), 2) if SYSTEM in (a[0].kind, b[0].kind)
    ]
    adjusted = holm([pair.p for pair in pairs])
    return tuple(dataclasses.replace(pair, p_holm=p) for pair, p in zip(pairs, adjusted, strict=True))


def _difference(first: Sequence[Rating], second: Sequence[Rating]) -> SystemDifference:
    cells: list[dict[tuple[str, str], list[float]]] = [defaultdict(list), defaultdict(list)]
    for cell, group in zip(cells, (first, second), strict=True):
        for r in group:
            cell[r.listener, r.item].append(r.score)
    shared = [who for who in cells[0] if who in cells[1]]
    values = np.array([np.mean(cells[0][who]) - np.mean(cells[1][who]) for who in shared])
    listeners, items = [who[0] for who in shared], [who[1] for who in shared]
    p = wilcoxon(cluster_means(values, listeners)) if shared else math.nan
    return SystemDifference(
        first=first[0].system,
        second=second[0].system,
        pairs=len(shared),
        listeners=len(set(listeners)),
        mean=two_way_interval(values, listeners, items),
        p=p,
        p_holm=p,
    )
