"""Means, intervals, differences and verdicts against direct computations."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import mean, median, stdev

import numpy as np
import pytest

from diffwave.evaluation.findings import Results, ScoredPair, summarize
from diffwave.evaluation.metrics import choose
from diffwave.evaluation.outcome import Outcome
from diffwave.evaluation.pairs import Pair, System
from diffwave.evaluation.statistics import cluster_interval, cluster_means, holm, wilcoxon

METRICS = tuple(choose(["pesq_wb", "lsd", "level", "steps"]))
SPEAKERS = 8


def results(scores: dict[str, dict[str, list[float]]], floors: tuple[str, ...] = (), each: int = 3) -> Results:
    """``scores[system][metric]`` by utterance, ``each`` utterances of every speaker; NaN is a failure."""
    systems, rows = [], {}
    for name, columns in scores.items():
        count = max(map(len, columns.values()))
        pairs = [Pair(name, f"u{i:03}", f"s{i // each}", Path("r"), Path("e")) for i in range(count)]
        origin = {"baseline": "griffin-lim"} if name in floors else {"sampler": "ddim"}
        systems.append(System(name, Path(name), tuple(pairs), (), origin))
        rows[name] = []
        for i, pair in enumerate(pairs):
            found = {metric: values[i] for metric, values in columns.items() if not math.isnan(values[i])}
            status = "ok" if len(found) == len(columns) else "metric_error"
            rows[name].append(ScoredPair(pair, Outcome(-1, status, "", 1.0, found, {})))
    return Results(tuple(systems), METRICS, rows)


def draw(seed: int, centre: float = 0.0, count: int = 3 * SPEAKERS) -> list[float]:
    return (centre + np.random.default_rng(seed).standard_normal(count)).tolist()


def comparison(summary: dict, a: str, b: str, metric: str) -> dict:
    (row,) = [r for r in summary["comparisons"] if (r["a"], r["b"], r["metric"]) == (a, b, metric)]
    return row


def test_location_and_spread_are_those_of_the_scores_that_are_there():
    values = [*draw(0), math.nan, math.nan, math.nan]
    score = summarize(results({"a": {"pesq_wb": values}}))["systems"][0]["scores"]["pesq_wb"]
    there = values[:-3]
    assert score["n"] == len(there)
    assert score["failed"] == 3
    assert score["mean"] == pytest.approx(mean(there))
    assert score["sd"] == pytest.approx(stdev(there))
    assert score["median"] == pytest.approx(median(there))
    assert [score["p5"], score["p95"]] == pytest.approx(np.quantile(there, [0.05, 0.95]).tolist())
    expected = cluster_interval(np.array(there), [i // 3 for i in range(len(there))])
    assert (score["low"], score["high"]) == (expected.low, expected.high)


def test_utterances_of_a_speaker_are_no_independent_evidence():
    # Each speaker has one value, said three times or thirty times: the interval is the same.
    once = draw(1, count=SPEAKERS)
    few = summarize(results({"a": {"pesq_wb": np.repeat(once, 3).tolist()}}, each=3))["systems"][0]
    many = summarize(results({"a": {"pesq_wb": np.repeat(once, 30).tolist()}}, each=30))["systems"][0]
    assert few["scores"]["pesq_wb"]["low"] == pytest.approx(many["scores"]["pesq_wb"]["low"])
    assert few["speakers"] == many["speakers"] == SPEAKERS


def test_systems_are_compared_on_common_rows_and_the_others_are_counted():
    a, b = draw(2), draw(3)
    a[0] = a[1] = b[1] = b[2] = math.nan
    row = comparison(summarize(results({"a": {"pesq_wb": a}, "b": {"pesq_wb": b}})), "a", "b", "pesq_wb")
    differences = np.array(a[3:]) - np.array(b[3:])
    speakers = [i // 3 for i in range(3, len(a))]
    assert (row["n"], row["dropped"]) == (len(a) - 3, 3)
    assert row["difference"] == pytest.approx(differences.mean())
    assert row["p"] == pytest.approx(wilcoxon(cluster_means(differences, speakers)))
    assert (row["a_better"], row["b_better"]) == ((differences > 0).sum(), (differences < 0).sum())


@pytest.mark.parametrize(
    ("metric", "better", "worse"),
    [("pesq_wb", 5.0, 1.0), ("lsd", 1.0, 5.0), ("level", 0.0, -5.0), ("level", 1.0, -5.0), ("level", -1.0, 5.0)],
)
def test_better_is_better_whichever_way_a_metric_points(metric, better, worse):
    good, bad = np.array(draw(4)) * 0.01 + better, np.array(draw(5)) * 0.01 + worse
    for first, second, verdict in ((good, bad, "a"), (bad, good, "b")):
        scores = {"x": {metric: first.tolist()}, "y": {metric: second.tolist()}}
        row = comparison(summarize(results(scores)), "x", "y", metric)
        assert row["verdict"] == verdict
        assert (row["a_better"] > row["b_better"]) == (verdict == "a")


def test_all_tests_of_the_table_are_adjusted_together():
    scores = {name: {"pesq_wb": draw(i), "lsd": draw(10 + i, i / 2)} for i, name in enumerate("abc")}
    rows = summarize(results(scores))["comparisons"]
    assert len(rows) == 3 * 2
    assert [row["p_holm"] for row in rows] == pytest.approx(holm([row["p"] for row in rows]))


def test_a_system_equal_to_the_floor_does_not_beat_it():
    same = draw(6)
    summary = summarize(results({"net": {"pesq_wb": same}, "floor": {"pesq_wb": same}}, floors=("floor",)))
    assert summary["floor"]["verdicts"] == [
        {"system": "net", "floor": "floor", "metric": "pesq_wb", "verdict": "open", "beats": False}
    ]
    assert comparison(summary, "net", "floor", "pesq_wb")["p"] == 1


@pytest.mark.parametrize("order", [("net", "floor"), ("floor", "net")])
@pytest.mark.parametrize(("lead", "beats"), [(3.0, True), (-3.0, False), (0.0, False)])
def test_a_system_beats_the_floor_only_if_the_whole_interval_does(order, lead, beats):
    scores = {"net": {"pesq_wb": draw(7, lead)}, "floor": {"pesq_wb": draw(8)}}
    summary = summarize(results({name: scores[name] for name in order}, floors=("floor",)))
    (verdict,) = summary["floor"]["verdicts"]
    assert (verdict["system"], verdict["beats"]) == ("net", beats)


def test_two_floors_are_not_compared_and_floors_alone_are_systems():
    scores = {name: {"pesq_wb": draw(i)} for i, name in enumerate(("g", "m"))}
    assert len(summarize(results(scores, floors=("g", "m")))["comparisons"]) == 1
    with_net = summarize(results({**scores, "net": {"pesq_wb": draw(9)}}, floors=("g", "m")))
    assert {(r["a"], r["b"]) for r in with_net["comparisons"]} == {("g", "net"), ("m", "net")}


@pytest.mark.parametrize("speakers", [2, 3, 4, 5])
def test_few_speakers_do_not_make_a_difference_where_there_is_none(speakers):
    found = 0
    for seed in range(120):
        a, b = draw(2 * seed, count=speakers), draw(2 * seed + 1, count=speakers)
        summary = summarize(results({"a": {"pesq_wb": a}, "b": {"pesq_wb": b}}, each=1))
        found += comparison(summary, "a", "b", "pesq_wb")["verdict"] in ("a", "b")
    assert found <= 120 * 0.1


def test_one_speaker_gives_no_verdict():
    scores = {"net": {"pesq_wb": [4.0, 4.1, 4.2]}, "floor": {"pesq_wb": [1.0, 1.1, 1.2]}}
    summary = summarize(results(scores, floors=("floor",)))
    assert not any(verdict["beats"] is False for verdict in summary["floor"]["verdicts"])


def test_nothing_is_null_and_not_nan():
    nothing = summarize(results({"a": {"pesq_wb": [math.nan] * 3}, "b": {"pesq_wb": [math.nan] * 3}}))
    single = summarize(results({"a": {"pesq_wb": [1.0]}}))
    for summary in (nothing, single):
        json.dumps(summary, allow_nan=False)
    assert nothing["systems"][0]["scores"]["pesq_wb"]["mean"] is None
    assert nothing["comparisons"] == []
    assert single["systems"][0]["scores"]["pesq_wb"]["sd"] is None


def test_what_is_only_recorded_is_no_failure_and_no_comparison():
    summary = summarize(results({"a": {"pesq_wb": draw(1)}, "b": {"pesq_wb": draw(2), "steps": [6.0] * 24}}))
    assert summary["systems"][0]["scores"]["steps"] | {"n": 0, "failed": 0} == summary["systems"][0]["scores"]["steps"]
    assert {row["metric"] for row in summary["comparisons"]} == {"pesq_wb"}


def test_the_same_rows_give_the_same_digits():
    scores = {"a": {"pesq_wb": draw(1), "level": draw(2)}, "b": {"pesq_wb": draw(3), "level": draw(4)}}
    assert json.dumps(summarize(results(scores))) == json.dumps(summarize(results(scores)))
