"""The report: what is in it, that it is whole, and that the same input gives the same bytes."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest

from diffwave.evaluation.statistics import Interval
from diffwave.listening.analysis import analyze
from diffwave.listening.analysis_documents import bounds, number, p_text, score_table
from diffwave.listening.documents import ListeningError
from diffwave.listening.ratings import join
from diffwave.listening.report import report_page, write_report
from diffwave.listening.result_files import AnswerFile, Reading
from simulated_listeners import honest_acr, honest_mushra, honest_pairs, make_test, random_clicks

FILES = ["ratings.csv", "report.html", "scores.png", "summary.json"]


def case(method, clicking=2):
    """A test, what was read, and its analysis."""
    rng = np.random.default_rng(21)
    test = make_test(method, 8)
    names = [f"listener{i:02}" for i in range(10)]
    if method in ("mushra", "acr"):
        given = (honest_mushra if method == "mushra" else honest_acr)(rng, test, names)
        given += random_clicks(rng, test, [f"x{i}" for i in range(clicking)], 1, 100 if method == "mushra" else 5)
    else:
        given = honest_pairs(rng, test, names)
    reading = Reading(tuple(given), (AnswerFile("a.csv", "diffwave CSV", len(given)),), ("a <b> note",))
    return test, reading, analyze(join(test, given))


class Tags(HTMLParser):
    """Complains of tags that are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.rows = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("method", ["mushra", "acr", "ab", "cmos", "abx"])
def test_all_files_and_the_same_bytes(tmp_path, method):
    for name in ("one", "two"):
        write_report(tmp_path / name, *case(method))
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    html = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)  # nothing from outside
    assert "a &lt;b&gt; note" in html
    assert not re.search(r"\bnan\b", re.sub(r"base64,[^\"]*", "", html), re.IGNORECASE)


def test_summary_and_table_hold_the_analysis(tmp_path):
    test, reading, analysis = case("mushra")
    returned = write_report(tmp_path / "r", test, reading, analysis)
    document = json.loads((tmp_path / "r" / "summary.json").read_text(encoding="utf-8"))
    assert document == returned
    assert document["screening"]["excluded"] == ["x0", "x1"]
    good = document["screened"]["systems"][0]
    assert (good["system"], good["mean"]["mean"]) == ("good", analysis.screened.systems[0].mean.mean)
    assert document["everybody"]["listeners"] == 12
    with (tmp_path / "r" / "ratings.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 * 8 * 5
    assert {row["listener"] for row in rows if row["excluded"] == "yes"} == {"x0", "x1"}
    kept = [float(r["score"]) for r in rows if r["excluded"] == "no" and r["system"] == "good"]
    assert np.mean(kept) == pytest.approx(good["mean"]["mean"])


def columns(html, heading):
    """Cells of the first table after a heading, by the text of their header."""
    table = re.search(rf"{heading}</h2>.*?<thead>(.*?)</thead><tbody>(.*?)</tbody>", html, re.DOTALL)
    header = re.findall(r"<th.*?>(.*?)</th>", table[1])
    rows = [re.findall(r"<td.*?>(.*?)</td>", unescape(row)) for row in re.findall(r"<tr>(.*?)</tr>", table[2])]
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def test_cells_stand_under_their_headers(tmp_path):
    write_report(tmp_path / "r", *case("mushra"))
    analysis = case("mushra")[2].screened
    html = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    systems = columns(html, "Systems, after screening")
    assert systems["system"] == ["good", "middling", "poor", "anchor35", "reference"]
    assert systems["kind"] == ["system", "system", "system", "anchor", "reference"]
    good = analysis.systems[0]
    found = [systems[name][0] for name in ("MUSHRA score", "95 %", "sd", "median", "votes")]
    wanted = [f"{good.mean.mean:.1f}", f"[{good.mean.low:.1f}, {good.mean.high:.1f}]", f"{good.sd:.1f}"]
    assert found == [*wanted, f"{good.median:.1f}", "80"]
    pairs = columns(html, "Differences, after screening")
    assert pairs["first minus second"][0] == "good − middling"
    assert pairs["difference"][0] == f"{analysis.differences[0].mean.mean:+.1f}"
    assert (pairs["listeners"][0], pairs["paired ratings"][0]) == ("10", "80")


@pytest.mark.parametrize("method", ["ab", "cmos"])
def test_cells_of_pairs_stand_under_their_headers(tmp_path, method):
    write_report(tmp_path / "r", *case(method))
    first = case(method)[2].everybody.comparisons[0]
    found = columns((tmp_path / "r" / "report.html").read_text(encoding="utf-8"), "Pairs, all listeners")
    assert found["first and second"][0] == f"{first.first} – {first.second}"
    assert found["p of listeners"][0] == p_text(first.p_listeners_holm)
    assert (found["answers"][0], found["listeners"][0]) == (str(first.answers), str(first.listeners))
    if method == "ab":
        assert found["share"][0] == f"{100 * first.mean.mean:.1f} %"
        assert (found["exact p"][0], found["undecided"][0]) == (p_text(first.p_holm), str(first.undecided))
    else:
        assert found["CMOS"][0] == f"{first.mean.mean:+.2f}"
        assert "exact p" not in found


def test_undecided_answers_have_no_score(tmp_path):
    write_report(tmp_path / "r", *case("ab"))
    with (tmp_path / "r" / "ratings.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["answer"] for row in rows} == {"a", "b", "none"}
    assert all((row["score"] == "") == (row["answer"] == "none") for row in rows)


def test_with_and_without_screening_are_both_shown(tmp_path):
    write_report(tmp_path / "some", *case("mushra"))
    html = (tmp_path / "some" / "report.html").read_text(encoding="utf-8")
    assert "Systems, after screening" in html
    assert "Systems, all listeners, without screening" in html
    assert "Left out by the screening: x0, x1." in html
    write_report(tmp_path / "none", *case("mushra", clicking=0))
    html = (tmp_path / "none" / "report.html").read_text(encoding="utf-8")
    assert "Systems, all listeners" in html
    assert "without screening" not in html


def test_nobody_left_still_gives_a_report(tmp_path):
    test = make_test("mushra", 6)
    given = random_clicks(np.random.default_rng(0), test, ["a", "b"], 0, 100)
    document = write_report(tmp_path / "r", test, Reading(tuple(given), (), ()), analyze(join(test, given)))
    assert document["screened"] is None
    assert "leaves nobody" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")


def test_names_are_escaped(tmp_path):
    test, reading, _ = case("acr")
    given = [dataclasses.replace(a, listener=f"<script>{a.listener}") for a in reading.answers]
    write_report(tmp_path / "r", test, reading, analyze(join(test, given)))
    assert "<script>" not in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")


def test_nothing_is_overwritten_without_force(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "mine.txt").write_text("mine")
    with pytest.raises(ListeningError, match="--force"):
        write_report(tmp_path / "r", *case("cmos"))
    write_report(tmp_path / "r", *case("cmos"), force=True)
    assert (tmp_path / "r" / "mine.txt").read_text() == "mine"
    with pytest.raises(ListeningError, match="it is a file"):
        write_report(tmp_path / "r" / "mine.txt", *case("cmos"))


def test_numbers_are_written_as_the_method_has_them():
    assert number("mushra")(81.25) == "81.2"
    assert number("acr", True)(-0.001) == "0.00"
    assert number("cmos")(1.234) == "+1.23"
    assert number("ab")(0.5) == "50.0 %"
    assert bounds("cmos", Interval(0, -0.5, 0.5)) == "[−0.50, +0.50]"
    assert bounds("acr", Interval(3, float("nan"), float("nan"))) == "–"
    assert (p_text(0.0312), p_text(float("nan"))) == ("0.031", "–")


@pytest.mark.parametrize("method", ["mushra", "cmos", "ab"])
def test_the_main_table_fits_its_header(method):
    header, rows = score_table(case(method)[2])
    assert rows
    assert all(len(row) == len(header) for row in rows)


@pytest.mark.parametrize(
    ("interval", "p", "said"),
    [
        (
            Interval(-17.1, -76.2, 41.9),
            0.018,
            "a and b: no difference shown: difference −17.1 [−76.2, +41.9], p = 0.018.",
        ),
        (Interval(-17.1, -30, -4), 0.06, "a and b: no difference shown: difference −17.1 [−30.0, −4.0], p = 0.060."),
        (Interval(-17.1, -30, -4), 0.0001, "b is rated better than a: difference +17.1 [+4.0, +30.0], p < 0.001."),
        (Interval(17.1, 4, 30), 0.018, "a is rated better than b: difference +17.1 [+4.0, +30.0], p = 0.018."),
        (Interval(17.1, math.nan, math.nan), 0.018, "a and b: no difference shown: difference +17.1 –, p = 0.018."),
        (Interval(17.1, 4, 30), math.nan, "a and b: no difference shown: difference +17.1 [+4.0, +30.0], p = –."),
    ],
)
def test_a_verdict_needs_interval_and_test(interval, p, said):
    test, reading, analysis = case("mushra", clicking=0)
    scores = [dataclasses.replace(analysis.everybody.systems[0], system=name) for name in "ab"]
    found = dataclasses.replace(analysis.everybody.differences[0], first="a", second="b", mean=interval, p_holm=p)
    outcome = dataclasses.replace(analysis.everybody, systems=tuple(scores), differences=(found,), items=())
    html = report_page(test, reading, dataclasses.replace(analysis, everybody=outcome, screened=outcome))
    assert f"<li>{said}</li>" in unescape(html)


def test_words_of_the_report_fit_screening_and_numbers():
    test, reading, _ = case("mushra")
    reading = dataclasses.replace(reading, notes=())
    html = report_page(test, reading, analyze(join(test, reading.answers)))
    assert "Every answer was read" in html
    assert "was used" not in html
    assert "<th>reasons</th>" in re.search(r'<table class="text">.*?</thead>', html)[0]
    assert re.search(r'<table class="text"><thead><tr><th>file</th>', html)
    alone = [answer for answer in reading.answers if answer.listener == "listener00"]
    html = report_page(test, reading, analyze(join(test, alone)))
    assert "1 listener in 1 session, 8 items, 40 answers from 1 file." in html
