"""Intervals of clustered and crossed scores: closed forms, and coverage in simulations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.listening import Setting, Spread, crossed, expected, on_scale, simulate
from diffwave.evaluation.statistics import (
    Interval,
    binomial_p,
    cluster_interval,
    cluster_means,
    holm,
    independent_interval,
    two_way_interval,
    two_way_share,
    wilcoxon,
    wilson_interval,
)


def complete(table: np.ndarray) -> tuple[np.ndarray, list[int], list[int]]:
    """Values, listeners and items of a table ``[listeners, items]``."""
    listeners, items = (index.ravel().tolist() for index in np.indices(table.shape))
    return table.ravel(), listeners, items


def anova(table: np.ndarray) -> Interval:
    """The interval of a complete table from the mean squares of the textbook."""
    rows, columns = table.shape
    mean = table.mean()
    by_row, by_column = table.mean(1), table.mean(0)
    ms_rows = columns * np.sum((by_row - mean) ** 2) / (rows - 1)
    ms_columns = rows * np.sum((by_column - mean) ** 2) / (columns - 1)
    rest = (rows - 1) * (columns - 1)
    ms_rest = np.sum((table - by_row[:, None] - by_column + mean) ** 2) / rest
    total = ms_rows + ms_columns - ms_rest
    freedom = total**2 / (ms_rows**2 / (rows - 1) + ms_columns**2 / (columns - 1) + ms_rest**2 / rest)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(total / table.size)
    return Interval(mean, mean - half, mean + half)


def test_a_complete_table_gives_the_analysis_of_variance():
    table = crossed(np.random.default_rng(0), 1, 7, 5, Spread(3, 4, 2))[0] + 50
    got, wanted = two_way_interval(*complete(table)), anova(table)
    assert (got.mean, got.low, got.high) == pytest.approx((wanted.mean, wanted.low, wanted.high), rel=1e-9)


def test_repeated_ratings_count_as_their_mean():
    table = crossed(np.random.default_rng(1), 1, 6, 4, Spread(3, 4, 2))[0]
    values, listeners, items = complete(table)
    twice = two_way_interval(
        np.concatenate([values + 1, values - 1, values[:3]]), listeners * 2 + listeners[:3], items * 2 + items[:3]
    )
    once = two_way_interval(values, listeners, items)
    assert (twice.mean, twice.low, twice.high) == pytest.approx((once.mean, once.low, once.high), rel=1e-9)


def test_where_every_listener_rates_one_item_only_items_cluster():
    # Then the mean of n / items listeners is an item's value, and the interval that of as many independent values.
    rng = np.random.default_rng(2)
    items = np.repeat(np.arange(8), 5)
    values = 3 * rng.standard_normal(8)[items] + rng.standard_normal(40)
    got = two_way_interval(values, list(range(40)), items.tolist())
    wanted = independent_interval(values.reshape(8, 5).mean(1))
    assert got.mean == pytest.approx(wanted.mean)
    # Half-width but for the degrees of freedom, which are those of a sum of three.
    assert got.high - got.low == pytest.approx(wanted.high - wanted.low, rel=0.02)


@pytest.mark.parametrize("names", [([], []), ([0, 0, 0], [0, 1, 2]), ([0, 1, 2], [0, 0, 0]), ([0], [0])])
def test_too_little_has_no_bounds(names):
    values = np.arange(float(len(names[0])))
    for interval in (two_way_interval(values, *names), two_way_share(values > 0, *names)):
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)


def test_all_the_same_is_a_point_but_not_for_shares():
    values, listeners, items = complete(np.ones((6, 4)))
    assert two_way_interval(values, listeners, items) == Interval(1, 1, 1)
    share = two_way_share(values, listeners, items)
    assert share.mean == share.high == 1
    # As six unanimous votes, one a listener: Wilson's with t instead of the normal quantile.
    square = stats.t.ppf(0.975, 5) ** 2
    assert share.low == pytest.approx(6 / (6 + square))


def test_shares_stay_inside_and_are_never_better_than_independent_votes():
    rng = np.random.default_rng(3)
    for _ in range(50):
        votes, listeners, items = complete((rng.random((8, 6)) < 0.9).astype(float))
        share, naive = two_way_share(votes, listeners, items), wilson_interval(int(votes.sum()), len(votes))
        assert 0 <= share.low <= share.mean <= share.high <= 1
        assert share.high - share.low >= naive.high - naive.low


@pytest.mark.parametrize(
    "setting",
    [
        Setting("mushra", 12, 8, 60, Spread(8, 6, 10)),
        Setting("mushra", 20, 12, 85, Spread(12, 4, 8)),
        Setting("mushra", 16, 10, 60, Spread(4, 10, 12), missing=0.3),
        Setting("difference", 16, 10, 0, Spread(6, 5, 14)),
        Setting("acr", 16, 10, 3.4, Spread(0.4, 0.3, 0.7)),
        Setting("acr", 20, 12, 4.2, Spread(0.5, 0.3, 0.7)),
        Setting("cmos", 20, 12, 0.7, Spread(0.5, 0.4, 1.0)),
        Setting("ab", 16, 10, 0.0, Spread(0.5, 0.4, 1.0)),
        Setting("ab", 20, 12, 0.6, Spread(0.5, 0.4, 1.0)),
    ],
    ids=lambda setting: f"{setting.what}-{setting.listeners}x{setting.items}",
)
def test_coverage_of_500_simulations_is_nominal_and_that_of_independent_ratings_is_not(setting):
    found = simulate(setting, 500)
    assert abs(found["ours"]["coverage"] - 0.95) <= 0.02
    assert found["independent"]["coverage"] < 0.80


def test_where_ratings_are_independent_the_usual_interval_is_right():
    # The check above can fail for either interval: here it is ours that is too wide.
    found = simulate(Setting("difference", 16, 10, 0, Spread(0, 0, 14)), 500)
    assert abs(found["independent"]["coverage"] - 0.95) <= 0.02
    assert found["ours"]["coverage"] > 0.96


def test_the_truth_of_a_scale_is_the_mean_of_many_answers():
    scores = on_scale(4.2 + 0.9 * np.random.default_rng(4).standard_normal(400_000), 1, 5)
    assert expected(4.2, 0.9, 1, 5) == pytest.approx(scores.mean(), abs=0.005)


def test_wilson_and_binomial_are_those_of_the_books():
    # Newcombe 1998, table I: 81 of 263.
    interval = wilson_interval(81, 263)
    assert (interval.low, interval.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert binomial_p(9, 10) == pytest.approx(22 / 1024)
    assert math.isnan(wilson_interval(0, 0).mean)
    assert math.isnan(binomial_p(0, 0))


def test_independent_interval_is_students():
    interval = independent_interval(np.array([1.0, 2.0, 3.0, 4.0]))
    half = 3.182446305 * math.sqrt(5 / 3) / 2
    assert (interval.mean, interval.high) == pytest.approx((2.5, 2.5 + half))
    assert math.isnan(independent_interval(np.array([1.0])).low)


def test_cluster_interval_covers_where_clusters_differ():
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(20), 5).tolist()
    held = 0
    for _ in range(200):
        values = np.repeat(rng.standard_normal(20), 5) + rng.standard_normal(100)
        interval = cluster_interval(values, clusters, draws=500)
        held += interval.low <= 0 <= interval.high
    assert 0.90 <= held / 200 <= 0.99


def test_holm_and_wilcoxon():
    adjusted = holm([0.01, math.nan, 0.04, 0.03])
    assert adjusted[0] == pytest.approx(0.03)
    assert math.isnan(adjusted[1])
    assert wilcoxon(np.array([1.0, 2, 3, 4, 5, 6])) == pytest.approx(2 / 64)
    assert math.isnan(wilcoxon(np.ones(5)))
    assert wilcoxon(np.zeros(8)) == 1


def test_wilcoxon_is_scipys_where_that_is_exact():
    rng = np.random.default_rng(6)
    for count in (6, 9, 20, 50):
        values = rng.standard_normal(count) + 0.3
        assert wilcoxon(values) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)
    values = rng.standard_normal(60) + 0.3
    assert wilcoxon(values) == pytest.approx(stats.wilcoxon(values).pvalue)


@pytest.mark.parametrize(
    "values", [[1, 1, 2, 2, -1, 3, 0], [1, -1, 1, -1, 1, -1], [0, 0, 0, 5, 5, 5], [2, 2, 2, 2, 2, 2]]
)
def test_wilcoxon_with_ties_counts_every_sign(values):
    values = np.array(values, dtype=float)
    left = values[values != 0]
    ranks = stats.rankdata(np.abs(left))
    sums = [np.dot(signs, ranks) for signs in itertools.product([0, 1], repeat=len(left))]
    seen, middle = np.dot(left > 0, ranks), ranks.sum() / 2
    wanted = np.mean([abs(s - middle) >= abs(seen - middle) for s in sums])
    assert wilcoxon(values) == pytest.approx(wanted)


def test_cluster_means_keep_the_order_of_appearance():
    assert cluster_means(np.array([1.0, 5.0, 3.0]), ["b", "a", "b"]).tolist() == [2, 5]
