"""What is known of simulated listeners is found again."""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from benchmarks.listening import expected
from diffwave.evaluation.statistics import two_way_interval
from diffwave.listening.analysis import analyze
from diffwave.listening.ratings import join
from simulated_listeners import (
    ACR_MEANS,
    MUSHRA_MEANS,
    answer,
    honest_acr,
    honest_mushra,
    honest_pairs,
    make_test,
    random_clicks,
)

NAMES = [f"listener{i:02}" for i in range(16)]


@pytest.fixture(scope="module")
def mushra():
    """A panel of 16 honest listeners and four who click anything."""
    rng = np.random.default_rng(12)
    test = make_test("mushra", 10)
    given = honest_mushra(rng, test, NAMES) + random_clicks(rng, test, ["x1", "x2", "x3", "x4"], 0, 100)
    return analyze(join(test, given))


def test_mushra_recovers_the_means_after_screening_only(mushra):
    assert mushra.excluded == {"x1", "x2", "x3", "x4"}
    shown = {s.system: s for s in mushra.screened.systems}
    assert list(shown) == ["good", "middling", "poor", "anchor35", "reference"]
    for system, mean in MUSHRA_MEANS.items():
        if system in shown:
            truth = expected(mean, math.hypot(6, 5, 9), 0, 100)
            assert shown[system].mean.low < truth < shown[system].mean.high
    everybody = {s.system: s.mean.mean for s in mushra.everybody.systems}
    assert everybody["reference"] < 93 < 96 < shown["reference"].mean.mean
    assert everybody["anchor35"] > shown["anchor35"].mean.mean + 2
    assert (mushra.everybody.listeners, mushra.screened.listeners) == (20, 16)


def test_mushra_orders_the_systems(mushra):
    found = {(d.first, d.second): d for d in mushra.screened.differences}
    # Of five conditions, ten pairs; anchor against reference is no question.
    assert len(found) == 9
    for (first, second), truth in {("good", "middling"): 16, ("middling", "poor"): 21, ("good", "poor"): 37}.items():
        d = found[first, second]
        assert d.mean.low < truth < d.mean.high
        assert d.p <= d.p_holm < 0.05
        assert (d.listeners, d.pairs) == (16, 160)


def test_scores_are_those_of_numpy(mushra):
    kept = [r for r in mushra.answers.ratings if r.system == "good" and r.listener not in mushra.excluded]
    scores = np.array([r.score for r in kept])
    good = mushra.screened.systems[0]
    assert good.votes == len(scores) == 160
    assert good.mean.mean == pytest.approx(scores.mean())
    assert good.mean == two_way_interval(scores, [r.listener for r in kept], [r.item for r in kept])
    assert (good.sd, good.median) == (pytest.approx(scores.std(ddof=1)), np.median(scores))
    item = next(i for i in mushra.screened.items if i.system == "good")
    of_item = [r.score for r in kept if r.item == item.item]
    wanted = stats.ttest_1samp(of_item, 0).confidence_interval()
    assert (item.votes, item.mean.low) == (16, pytest.approx(wanted.low))


def test_a_listeners_habit_is_no_difference_between_systems():
    # One listener rates everything 30 lower and skips the good system on half of the items: paired by listener and
    # item this changes nothing, while the plain difference of means would be off.
    test = make_test("mushra", 8)
    kind = {s.stimulus: s.system for s in test.stimuli}
    means = {"good": 80, "middling": 70, "poor": 40, "anchor35": 30, "reference": 100}
    given = [
        answer(test, name, trial, stimulus, means[kind[stimulus]] - 30 * (name == "listener00"))
        for name in NAMES[:8]
        for item, trial in enumerate(test.trials)
        for stimulus in trial.stimuli
        if not (name == "listener00" and kind[stimulus] == "good" and item < 4)
    ]
    outcome = analyze(join(test, given)).everybody
    assert outcome.differences[0].mean.mean == pytest.approx(10)
    assert outcome.differences[0].pairs == 60
    assert outcome.systems[0].mean.mean - outcome.systems[1].mean.mean != pytest.approx(10)


def test_acr_is_a_mos_with_both_intervals():
    test = make_test("acr", 10)
    analysis = analyze(join(test, honest_acr(np.random.default_rng(12), test, NAMES)))
    assert analysis.screened is analysis.everybody
    for score in analysis.everybody.systems:
        truth = expected(ACR_MEANS[score.system], math.hypot(0.4, 0.3, 0.7), 1, 5)
        assert 1 <= score.mean.low < truth < score.mean.high <= 5
        assert score.independent.high - score.independent.low < score.mean.high - score.mean.low
    assert len(analysis.everybody.items) == 50
    assert all(item.votes == 16 for item in analysis.everybody.items)


def truth_of_share(strength: float) -> float:
    """How often the first is better, for listeners, items and moments as :func:`honest_pairs` makes them."""
    return NormalDist().cdf(strength / math.hypot(0.5, 0.4, 1.0))


@pytest.mark.parametrize("strength", [0.0, 0.8, -0.8])
def test_ab_recovers_the_preference(strength):
    test = make_test("ab", 12)
    analysis = analyze(join(test, honest_pairs(np.random.default_rng(13), test, NAMES, strength)))
    for c in analysis.everybody.comparisons:
        assert c.mean.low < truth_of_share(strength) < c.mean.high
        assert c.independent.high - c.independent.low < c.mean.high - c.mean.low
        assert c.answers == 16 * 12
        assert 0 < c.undecided < 0.35 * c.answers
        decided = c.answers - c.undecided
        assert c.p == pytest.approx(stats.binomtest(c.wins, decided).pvalue)
        assert c.mean.mean == pytest.approx(c.wins / decided)
        assert (c.p_listeners_holm < 0.05) == (strength != 0)


def test_cmos_recovers_the_sign_whatever_was_played_first():
    test = make_test("cmos", 12)
    analysis = analyze(join(test, honest_pairs(np.random.default_rng(14), test, NAMES, 1.0)))
    for c in analysis.everybody.comparisons:
        assert c.mean.low < expected(1.0, math.hypot(0.5, 0.4, 1.0), -3, 3) < c.mean.high
        assert c.mean.low > 0
        assert math.isnan(c.p)
        assert c.p_listeners_holm < 0.05


def test_abx_counts_what_is_correct():
    test = make_test("abx", 12)
    given = honest_pairs(np.random.default_rng(15), test, NAMES, 0.8)
    analysis = analyze(join(test, given))
    pairs = {(c.first, c.second): c for c in analysis.everybody.comparisons}
    assert all(c.mean.low < truth_of_share(0.8) < c.mean.high for c in pairs.values())
    right = sum((a.x == a.stimulus) == (a.answer == "a") for a in given)
    assert sum(c.wins for c in pairs.values()) == right


def test_nobody_left_is_none():
    test = make_test("mushra", 6)
    analysis = analyze(join(test, random_clicks(np.random.default_rng(16), test, ["a", "b"], 0, 100)))
    assert analysis.screened is None
    assert analysis.everybody.listeners == 2


def test_one_listener_has_means_without_bounds():
    test = make_test("acr", 3)
    analysis = analyze(join(test, honest_acr(np.random.default_rng(17), test, ["anna"])))
    assert all(math.isnan(score.mean.low) for score in analysis.everybody.systems)
    assert all(math.isnan(d.p_holm) for d in analysis.everybody.differences)


def test_bs1116_grades_are_below_zero_and_need_no_reference():
    test = make_test("mushra", 8)
    rng = np.random.default_rng(18)
    given = []
    for name in NAMES:
        for item, trial in enumerate(test.trials):
            for system, grade in {"good": 4.2, "middling": 3.5, "poor": 2.2}.items():
                score = np.clip(rng.normal(grade, 0.5), 1, 5)
                one = answer(test, name, trial, f"s{item}{system}", round(float(score), 2))
                given.append(dataclasses.replace(one, method="bs1116", reference_answer="5"))
    outcome = analyze(join(test, given)).screened
    assert [s.system for s in outcome.systems] == ["good", "middling", "poor"]
    assert outcome.systems[0].mean.low < -0.8 < outcome.systems[0].mean.high < 0
    assert outcome.listeners == 16
