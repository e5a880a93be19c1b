"""What pairs of systems say: preferences, comparison grades, and whether two can be told apart."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffwave.evaluation.statistics import (
    Interval,
    binomial_p,
    cluster_means,
    holm,
    independent_interval,
    two_way_interval,
    two_way_share,
    wilcoxon,
    wilson_interval,
)
from diffwave.listening.answer_scores import SCALES
from diffwave.listening.ratings import PairChoice
from diffwave.listening.system_scores import cut_interval


@dataclass(frozen=True)
class Comparison:
    """What listeners answered to pairs of two systems.

    Args:
        first, second: the systems.
        answers, listeners, items: how many, those without a decision included.
        undecided: no preference (ab), undecided (webMUSHRA's pairs).
        wins: answers for ``first`` (ab), correct answers (abx); of the decided ones.
        mean: cmos: the mean, positive where ``first`` is better; else the share of ``wins``. Interval over listeners
            and items.
        independent: the same with Wilson's (cmos: Student's) interval, as if all answers were independent.
        p: exact binomial test of the share against one half, as if all answers were independent; NaN for cmos.
        p_listeners: Wilcoxon's signed-rank test on the listeners' means against no difference.
        p_holm, p_listeners_holm: adjusted for the number of comparisons.
    """

    first: str
    second: str
    answers: int
    listeners: int
    items: int
    undecided: int
    wins: int
    mean: Interval
    independent: Interval
    p: float
    p_listeners: float
    p_holm: float
    p_listeners_holm: float


def comparisons(method: str, choices: Sequence[PairChoice]) -> tuple[Comparison, ...]:
    """Every pair of systems that was compared, with Holm's adjustment over them."""
    groups: dict[tuple[str, str], list[PairChoice]] = defaultdict(list)
    for choice in choices:
        groups[choice.first, choice.second].append(choice)
    compared = [_comparison(method, groups[names]) for names in sorted(groups)]
    exact, ranks = holm([c.p for c in compared]), holm([c.p_listeners for c in compared])
    return tuple(
        dataclasses.replace(c, p_holm=p, p_listeners_holm=rank)
        for c, p, rank in zip(compared, exact, ranks, strict=True)
    )


def _comparison(method: str, choices: Sequence[PairChoice]) -> Comparison:
    decided = [choice for choice in choices if not math.isnan(choice.score)]
    scores = np.array([choice.score for choice in decided])
    listeners, items = [choice.listener for choice in decided], [choice.item for choice in decided]
    if method == "cmos":
        wins, p, centre = int(np.sum(scores > 0)), math.nan, 0.0
        mean = cut_interval(two_way_interval(scores, listeners, items), SCALES[method])
        independent = cut_interval(independent_interval(scores), SCALES[method])
    else:
        wins, centre = int(scores.sum()), 0.5
        p = binomial_p(wins, len(decided))
        mean, independent = two_way_share(scores, listeners, items), wilson_interval(wins, len(decided))
    p_listeners = wilcoxon(cluster_means(scores, listeners) - centre) if decided else math.nan
    return Comparison(
        first=choices[0].first,
        second=choices[0].second,
        answers=len(choices),
        listeners=len({choice.listener for choice in choices}),
        items=len({choice.item for choice in choices}),
        undecided=len(choices) - len(decided),
        wins=wins,
        mean=mean,
        independent=independent,
        p=p,
        p_listeners=p_listeners,
        p_holm=p,
        p_listeners_holm=p_listeners,
    )
