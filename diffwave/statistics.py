"""Intervals and tests for scores that are not independent: utterances share speakers, ratings share listeners."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 5000
_BLOCK = 250  # draws at a time: bounds the memory whatever the number of clusters
# Below this many independent values a rank test cannot reach 5 %.
_FEWEST_FOR_RANKS = 6


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval; the bounds are NaN where there is too little to say.

    Args:
        mean: of all values.
        low, high: bounds of the interval.
    """

    mean: float
    low: float
    high: float


def cluster_interval(values: np.ndarray, clusters: Sequence[Hashable], draws: int = DRAWS, seed: int = 0) -> Interval:
    """Mean with a bootstrap interval that resamples whole clusters.

    The percentiles are widened as a t distribution is wider than a normal one (the expanded percentile interval of
    Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.4): plain percentiles are too narrow
    for few clusters.

    Args:
        values: scores, shape ``[n]``, finite.
        clusters: what each score belongs to, for example its speaker.
        draws: bootstrap draws.
        seed: of the draws.
    """
    from scipy import stats

    names = {name: index for index, name in enumerate(dict.fromkeys(clusters))}
    if len(values) == 0:
        return Interval(math.nan, math.nan, math.nan)
    mean = float(np.mean(values))
    count = len(names)
    if count < 2:
        return Interval(mean, math.nan, math.nan)
    index = np.array([names[name] for name in clusters])
    sums = np.bincount(index, weights=values - mean, minlength=count)
    sizes = np.bincount(index, minlength=count)
    rng = np.random.default_rng(seed)
    means = np.concatenate([_draw_means(rng, sums, sizes, min(_BLOCK, draws - i)) for i in range(0, draws, _BLOCK)])
    tail = stats.norm.cdf(math.sqrt(count / (count - 1)) * stats.t.ppf(0.025, count - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, mean + float(low), mean + float(high))


def _draw_means(rng: np.random.Generator, sums: np.ndarray, sizes: np.ndarray, draws: int) -> np.ndarray:
    """Means of so many resamples of clusters that have these sums and sizes."""
    chosen = rng.integers(0, len(sums), (draws, len(sums)))
    means: np.ndarray = sums[chosen].sum(axis=1) / sizes[chosen].sum(axis=1)
    return means


def wilcoxon(differences: np.ndarray) -> float:
    """Two-sided p of the Wilcoxon signed-rank test; NaN for fewer than six differences, 1 if all are zero."""
    from scipy import stats

    if len(differences) < _FEWEST_FOR_RANKS:
        return math.nan
    if not np.any(differences):
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment (1979) of several p values, in their order; NaN stays NaN and is not counted.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    running = 0.0
    for rank, (p, i) in enumerate(order):
        running = max(running, min(1.0, p * (len(order) - rank)))
        adjusted[i] = running
    return adjusted


def cluster_means(values: np.ndarray, clusters: Sequence[Hashable]) -> np.ndarray:
    """Mean of the values of each cluster, in order of appearance, ``[clusters]``."""
    names = {name: index for index, name in enumerate(dict.fromkeys(clusters))}
    index = np.array([names[name] for name in clusters], dtype=int)
    means: np.ndarray = np.bincount(index, weights=values) / np.bincount(index)
    return means
