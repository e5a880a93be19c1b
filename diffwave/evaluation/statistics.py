"""Intervals and tests for scores that are not independent: utterances share speakers, ratings share listeners."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 5000
FEWEST_FOR_BOOTSTRAP = 6  # clusters
_BLOCK = 250  # draws at a time: bounds the memory whatever the number of clusters
# Below this many independent values a rank test cannot reach 5 %.
_FEWEST_FOR_RANKS = 6
_MOST_EXACT = 50  # differences; more are as good as normal


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
    for few clusters. For fewer than six even these are, since no percentile lies outside the clusters' own means; there
    it is Student's t on the sums of clusters.

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
    if count < FEWEST_FOR_BOOTSTRAP:
        error = math.sqrt(count / (count - 1) * float(np.square(sums).sum())) / len(values)
        half = float(stats.t.ppf(0.975, count - 1)) * error
        return Interval(mean, mean - half, mean + half)
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
    """Two-sided p of the Wilcoxon signed-rank test; NaN for fewer than six differences, 1 if all are zero.

    Zeros are left out. Up to fifty differences the p is exact whether or not there are ties: that of all signs the
    ranks can have, which for half ranks too is a matter of adding whole numbers. scipy does so without ties only, or
    slowly by permutation.
    """
    from scipy import stats

    if len(differences) < _FEWEST_FOR_RANKS:
        return math.nan
    differences = differences[differences != 0]
    if len(differences) == 0:
        return 1.0
    if len(differences) > _MOST_EXACT:
        return float(stats.wilcoxon(differences, method="asymptotic").pvalue)
    doubled = np.rint(2 * stats.rankdata(np.abs(differences))).astype(int)
    # counts[s]: how many choices of positive signs have ranks of sum s / 2. At most 2**50: exact in float64.
    counts = np.ones(1)
    for rank in doubled:
        counts = np.pad(counts, (0, rank)) + np.pad(counts, (rank, 0))
    positive = int(doubled[differences > 0].sum())
    tail = min(positive, int(doubled.sum()) - positive)
    return min(1.0, 2 * float(counts[: tail + 1].sum() / counts.sum()))


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


def two_way_interval(values: np.ndarray, listeners: Sequence[Hashable], items: Sequence[Hashable]) -> Interval:
    """Mean with an interval for ratings that share listeners and items, both drawn from many: crossed random effects.

    Listener ``l`` on item ``i`` gives ``mean + a_l + b_i + e_li``. The three variances come from squared differences
    between ratings that share a listener, an item, or neither, which for a complete table are those of the analysis of
    variance, where ``Var(mean) = (MS_listeners + MS_items - MS_residual) / n``. The interval is a t interval with
    Satterthwaite's (1946) degrees of freedom. It is never narrower than clustering by listeners or by items alone.

    Args:
        values: ratings, shape ``[n]``, finite; several of one listener on one item count as their mean.
        listeners, items: of each rating. The table may have holes.

    Returns:
        Bounds are NaN for fewer than two listeners or two items.
    """
    from scipy import stats

    mean, variance, freedom, _ = _two_way(np.asarray(values, dtype=float), listeners, items)
    if math.isnan(variance):
        return Interval(mean, math.nan, math.nan)
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half)


def two_way_share(votes: np.ndarray, listeners: Sequence[Hashable], items: Sequence[Hashable]) -> Interval:
    """Share of ones with an interval for votes that share listeners and items.

    Wilson's interval (1927) with the effective number of votes ``p (1 - p) / Var(p)``, the variance and the degrees of
    freedom as in :func:`two_way_interval`; so it stays inside ``[0, 1]``. Unanimous votes say nothing of how much
    listeners differ, so they count as one for each listener.

    Args:
        votes: 0 or 1, shape ``[n]``.
        listeners, items: of each vote.
    """
    from scipy import stats

    share, variance, freedom, cells = _two_way(np.asarray(votes, dtype=float), listeners, items)
    if math.isnan(variance):
        return Interval(share, math.nan, math.nan)
    spread = share * (1 - share)
    if variance > 0:
        # Never more votes than there are: an estimate below that of independent votes is luck.
        count = min(cells, spread / variance)
    else:
        count = len(set(listeners))
        freedom = count - 1
    square = float(stats.t.ppf(0.975, freedom)) ** 2 / count
    centre = (share + square / 2) / (1 + square)
    half = math.sqrt(square * spread + square**2 / 4) / (1 + square)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def wilson_interval(successes: int, count: int) -> Interval:
    """Share with Wilson's 95 % interval (1927), as if every vote were independent."""
    from scipy import stats

    if count == 0:
        return Interval(math.nan, math.nan, math.nan)
    interval = stats.binomtest(successes, count).proportion_ci(method="wilson")
    return Interval(successes / count, float(interval.low), float(interval.high))


def binomial_p(successes: int, count: int) -> float:
    """Two-sided p of the exact binomial test against one half, as if every vote were independent; NaN for none."""
    from scipy import stats

    return float(stats.binomtest(successes, count).pvalue) if count else math.nan


def independent_interval(values: np.ndarray) -> Interval:
    """Mean with Student's 95 % interval, as if every value were independent: right for one item, else too narrow."""
    from scipy import stats

    count = len(values)
    mean = float(np.mean(values)) if count else math.nan
    if count < 2:
        return Interval(mean, math.nan, math.nan)
    half = float(stats.t.ppf(0.975, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def _codes(names: Sequence[Hashable]) -> np.ndarray:
    index = {name: code for code, name in enumerate(dict.fromkeys(names))}
    return np.array([index[name] for name in names], dtype=np.int64)


def _two_way(
    values: np.ndarray, listeners: Sequence[Hashable], items: Sequence[Hashable]
) -> tuple[float, float, float, int]:
    """Mean, its variance, the degrees of freedom, and the number of cells that hold a value."""
    if len(values) == 0:
        return math.nan, math.nan, math.nan, 0
    listener, item = _codes(listeners), _codes(items)
    cells, inverse = np.unique(listener * (int(item.max()) + 1) + item, return_inverse=True)
    cell_values = np.bincount(inverse, weights=values) / np.bincount(inverse)
    listener, item = cells // (int(item.max()) + 1), cells % (int(item.max()) + 1)
    mean, count = float(cell_values.mean()), len(cells)
    sizes = np.bincount(listener), np.bincount(item)
    if min(len(size) for size in sizes) < 2:
        return mean, math.nan, math.nan, count
    by_listener, by_item, residual = _components(cell_values - mean, listener, item)
    effective = [count**2 / float(size @ size) for size in sizes]  # clusters of equal size that weigh as much
    of_cells = residual / count
    of_listeners = max(0.0, by_listener / effective[0] + of_cells)
    of_items = max(0.0, by_item / effective[1] + of_cells)
    variance = max(of_listeners + of_items - of_cells, of_listeners, of_items)
    left = max(1, count - len(sizes[0]) - len(sizes[1]) + 1)
    terms = of_listeners**2 / (effective[0] - 1) + of_items**2 / (effective[1] - 1) + of_cells**2 / left
    freedom = max(1.0, variance**2 / terms) if terms > 0 else 1.0
    return mean, variance, freedom, count


def _components(values: np.ndarray, listener: np.ndarray, item: np.ndarray) -> tuple[float, float, float]:
    """Variance of listeners, of items and of the rest; unbiased, so one may be negative.

    Args:
        values: one for each cell, centred, shape ``[n]``.
        listener, item: codes of each, from 0 without gaps.
    """

    def squares(group: np.ndarray) -> tuple[float, int]:
        """Half the squared differences of ordered pairs within a group, summed; and how many pairs."""
        sizes = np.bincount(group)
        sums = np.bincount(group, weights=values)
        return float(sizes @ np.bincount(group, weights=values**2) - sums @ sums), int(sizes @ sizes) - len(values)

    same_listener, listener_pairs = squares(listener)
    same_item, item_pairs = squares(item)
    every, pairs = squares(np.zeros_like(listener))
    # Two cells of a table without repetitions never share both.
    apart = (every - same_listener - same_item) / (pairs - listener_pairs - item_pairs)
    # Where no listener rated two items, what listeners add is in the rest; likewise for items.
    within_listener = same_listener / listener_pairs if listener_pairs else apart
    within_item = same_item / item_pairs if item_pairs else apart
    return apart - within_listener, apart - within_item, max(0.0, within_listener + within_item - apart)
