"""Whom the screening leaves out: the rules of BS.1534-3 to the letter, and rates in simulations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from diffwave.listening.design import ANCHOR, REFERENCE, SYSTEM
from diffwave.listening.ratings import join
from diffwave.listening.screening import Outlier, outliers, quartiles, screen
from simulated_listeners import (
    answer,
    honest_acr,
    honest_mushra,
    honest_pairs,
    make_test,
    random_clicks,
    screening_rates,
)

WITH_MID = {"good": SYSTEM, "anchor35": ANCHOR, "anchor70": ANCHOR, "reference": REFERENCE}


def panel(scores, items=20, systems=WITH_MID):
    """Verdicts on listeners with given scores: ``{listener: {system: function of the item}}``; others get 50."""
    test = make_test("mushra", items, systems)
    usual = {"reference": 100, "anchor35": 20, "anchor70": 60}
    kind = {s.stimulus: s.system for s in test.stimuli}
    given = []
    for listener, own in scores.items():
        for item, trial in enumerate(test.trials):
            for name in trial.stimuli:
                system = kind[name]
                score = own[system](item) if system in own else usual.get(system, 50)
                given.append(answer(test, listener, trial, name, score))
    return {v.listener: v for v in screen(join(test, given))}


def first(count, inside, outside):
    """A score for the first ``count`` items and another for the rest."""
    return lambda item: inside if item < count else outside


def test_hidden_reference_below_90_on_more_than_15_percent():
    verdicts = panel(
        {
            "three": {"reference": first(3, 89, 100)},  # 15 % of 20: not more than 15 %
            "four": {"reference": first(4, 89, 100)},
            "ninety": {"reference": first(20, 90, 90)},  # not lower than 90
        }
    )
    assert [name for name, v in verdicts.items() if v.excluded] == ["four"]
    assert verdicts["four"].reasons == ("hidden reference below 90 on 4 of 20 items",)


def test_mid_anchor_above_90_on_more_than_15_percent():
    crowd = {f"usual{i}": {} for i in range(8)}
    verdicts = panel(
        crowd
        | {
            "three": {"anchor70": first(3, 91, 60)},
            "four": {"anchor70": first(4, 91, 60)},
            "ninety": {"anchor70": first(20, 90, 90)},  # not higher than 90
        }
    )
    assert [name for name, v in verdicts.items() if v.excluded] == ["four"]
    assert verdicts["four"].reasons == ("anchor70 above 90 on 4 of 20 items",)


@pytest.mark.parametrize(("high", "excluded"), [(2, True), (3, False)])
def test_items_whose_anchor_more_than_a_quarter_rates_high_do_not_count(high, excluded):
    # Of 8 listeners, 2 are a quarter and not more than that; 3 are more, so the anchor is the item's fault.
    scores = {f"high{i}": {"anchor70": first(4, 95, 60)} for i in range(high)}
    scores |= {f"usual{i}": {} for i in range(8 - high)}
    assert panel(scores)["high0"].excluded is excluded


def test_the_caveat_is_for_single_items():
    scores = {f"high{i}": {"anchor70": first(4, 95, 60)} for i in range(3)}
    scores["high0"] = {"anchor70": first(8, 95, 60)}  # four more, alone
    scores |= {f"usual{i}": {} for i in range(5)}
    verdicts = panel(scores)
    assert [name for name, v in verdicts.items() if v.excluded] == ["high0"]
    assert verdicts["high0"].reasons == ("anchor70 above 90 on 4 of 20 items",)


def test_without_a_mid_anchor_the_low_one_takes_its_place():
    systems = {"good": SYSTEM, "anchor35": ANCHOR, "reference": REFERENCE}
    scores = {f"usual{i}": {} for i in range(8)} | {"lazy": {"anchor35": first(20, 100, 100)}}
    verdicts = panel(scores, systems=systems)
    assert [name for name, v in verdicts.items() if v.excluded] == ["lazy"]
    assert "our rule" in verdicts["lazy"].reasons[0]


def test_quartiles_are_medians_of_halves_that_both_hold_the_median():
    assert quartiles(np.array([5.0, 1, 2, 4, 3])) == (2, 4)
    assert quartiles(np.array([4.0, 1, 2, 3])) == (1.5, 3.5)
    assert quartiles(np.array([7.0])) == (7, 7)


def test_outliers_are_listed_and_kept():
    test = make_test("mushra", 1, {"good": SYSTEM, "reference": REFERENCE})
    (trial,) = test.trials
    scores = [50, 51, 52, 53, 54, 58, 59]  # quartiles 51.5 and 56; fences 44.75 and 62.75
    given = [answer(test, f"l{i}", trial, "s0good", score) for i, score in enumerate(scores)]
    assert outliers(join(test, given).ratings) == ()
    given[0] = dataclasses.replace(given[0], answer="40")
    assert outliers(join(test, given).ratings) == (Outlier("l0", "speech/00", "good", 40, 44.75, 62.75),)
    assert not any(v.excluded for v in screen(join(test, given)))


@pytest.mark.parametrize("method", ["mushra", "acr"])
@pytest.mark.parametrize(("honest", "clicking"), [(14, 2), (20, 10)])
def test_random_clickers_go_and_honest_listeners_stay(method, honest, clicking):
    rates = screening_rates(7, 25, method, honest, clicking, 10)
    assert rates["kept"] > 0.95
    assert rates["removed"] > 0.95


def test_everybody_clicking_is_no_reason_to_trust_the_crowd():
    test = make_test("mushra", 10)
    given = random_clicks(np.random.default_rng(0), test, [f"l{i}" for i in range(8)], 0, 100)
    assert all(v.excluded for v in screen(join(test, given)))


def test_acr_rules():
    test = make_test("acr", 6)
    given = honest_acr(np.random.default_rng(1), test, [f"l{i}" for i in range(8)])
    same = [dataclasses.replace(a, listener="same", answer="3") for a in given if a.listener == "l0"]
    turned = [dataclasses.replace(a, listener="turned", answer=str(6 - int(a.answer))) for a in given[: 6 * 5]]
    fast = [dataclasses.replace(a, listener="fast", page_ms=900.0) for a in given if a.listener == "l1"]
    verdicts = {v.listener: v for v in screen(join(test, [*given, *same, *turned, *fast]))}
    assert [name for name, v in verdicts.items() if v.excluded] == ["same", "turned", "fast"]
    assert verdicts["same"].reasons == ("all 30 votes are the same",)
    assert verdicts["turned"].reasons[0] == "rates anchor35 above the hidden reference"
    assert "does not agree with the others" in verdicts["turned"].reasons[1]
    assert verdicts["fast"].reasons == ("page shorter than the stimulus for 30 of 30 answers",)


def test_where_systems_are_alike_nobody_is_left_out_for_disagreeing(monkeypatch):
    import simulated_listeners

    monkeypatch.setattr(simulated_listeners, "ACR_MEANS", dict.fromkeys(simulated_listeners.ACR_MEANS, 3.4))
    test = make_test("acr", 10)
    excluded = 0
    for seed in range(20):
        given = honest_acr(np.random.default_rng(seed), test, [f"l{i}" for i in range(16)])
        reasons = [reason for v in screen(join(test, given)) for reason in v.reasons]
        excluded += sum("agree" in reason for reason in reasons)
    assert excluded <= 0.05 * 20 * 16


def test_pairs_are_judged_by_sides_and_time():
    test = make_test("ab", 4)
    given = honest_pairs(np.random.default_rng(2), test, ["anna", "ben", "cleo", "dan"])
    change = {"ben": {"answer": "a"}, "cleo": {"answer": "none"}, "dan": {"page_ms": 3000.0}}
    given = [dataclasses.replace(a, **change.get(a.listener, {})) for a in given]
    verdicts = {v.listener: v for v in screen(join(test, given))}
    assert verdicts["anna"].reasons == ()
    assert verdicts["ben"].reasons == ("answered 'a' to all 12 pairs",)
    # Who hears no difference says so every time.
    assert (verdicts["cleo"].reasons, verdicts["cleo"].remarks) == ((), ("answered 'none' to all 12 pairs",))
    assert verdicts["dan"].reasons == ("page shorter than the stimulus for 12 of 12 answers",)


def test_several_sessions_are_remarked():
    test = make_test("mushra", 4)
    given = honest_mushra(np.random.default_rng(3), test, ["anna"])
    again = [dataclasses.replace(a, session="anna-2") for a in given[:5]]
    (verdict,) = screen(join(test, [*given, *again]))
    assert (verdict.sessions, verdict.answers, verdict.expected) == (2, 25, 40)
    assert "2 sessions" in verdict.remarks
