"""Reading result files: every kind, and what is wrong with them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from diffwave.listening.design import RESULT_COLUMNS, Trial
from diffwave.listening.documents import ListeningError
from diffwave.listening.ratings import join
from diffwave.listening.result_files import read_results
from simulated_listeners import honest_acr, honest_mushra, honest_pairs, make_test, own_csv

# As webMUSHRA's PHP service and pymushra write them, with questions in between.
MUSHRA = (
    'session_test_id,"first name",listener,session_uuid,trial_id,rating_stimulus,rating_score,rating_time,'
    "rating_comment\n"
    "test-mushra,A,anna,u1,t0,reference,97,31000,\n"
    'test-mushra,A,anna,u1,t0,s0good,81,31000,"two\nlines, quoted"\n'
    "test-mushra,A,,u2,t0,anchor35,12,9000,\n"
)
BS1116 = (
    "session_test_id,listener,trial_id,rating_reference,rating_non_reference,rating_reference_score,"
    "rating_non_reference_score,rating_time,choice_comment\n"
    "test-mushra-bs1116,anna,t0,reference,s0good,5,4.2,31000,\n"
)
PAIRED = (
    "session_test_id,listener,trial_id,choice_reference,choice_non_reference,choice_answer,choice_time,"
    "choice_comment\n"
    "test-ab,anna,t0p01,s0good,s0middling,correct,31000,\n"
    "test-ab,anna,t1p01,s1good,s1middling,undecided,31000,\n"
)
LSS = """session_test_id,listener,trial_id,stimuli_rating,stimuli,rating_time
test-acr,anna,t0good," 4 ",s0good,31000
"""
PYMUSHRA = (
    "wm_type;responses_score;questionaire_uuid;responses_stimulus;wm_id;wm_testId;responses_time;"
    "questionaire_listener;wm_date;responses_comment;wm_config\n"
    "mushra;97;u-1;reference;t0;test-mushra;31000;anna;2026-01-01;;configs/test-mushra.yaml\n"
    "mushra;81.0;u-1;s0good;t0;test-mushra;31000;anna;2026-01-01;;configs/test-mushra.yaml\n"
)


@pytest.fixture
def read(tmp_path):
    """Write a text to a file, read it, and put it together with a simulated test."""

    def call(text, method, name="results.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        reading = read_results([tmp_path / name])
        return reading, join(make_test(method, 2), reading.answers)

    return call


def test_webmushra_with_questions_in_between_and_its_own_names(read):
    reading, answers = read(MUSHRA, "mushra")
    assert reading.sources[0].kind == "webMUSHRA mushra.csv"
    assert [(r.listener, r.session, r.item, r.system, r.score) for r in answers.ratings] == [
        ("anna", "u1", "speech/00", "reference", 97),
        ("anna", "u1", "speech/00", "good", 81),
        ("u2", "u2", "speech/00", "anchor35", 12),  # no name: the session stands for the listener
    ]
    assert answers.ratings[0].page_ms == 31000


def test_webmushra_other_pages(read):
    _, graded = read(BS1116, "mushra")
    assert (graded.method, graded.ratings[0].score) == ("bs1116", pytest.approx(-0.8))
    assert graded.runs[0].expected == 6  # three systems, two items; no anchors
    _, paired = read(PAIRED, "ab")
    assert paired.method == "detection"
    assert paired.choices[0].score == 1
    assert math.isnan(paired.choices[1].score)
    _, liked = read(LSS, "acr")
    assert (liked.ratings[0].score, liked.ratings[0].system) == (4, "good")


def test_pymushra(read):
    reading, answers = read(PYMUSHRA, "mushra")
    assert reading.sources[0].kind == "pymushra CSV"
    assert [(r.listener, r.system, r.score) for r in answers.ratings] == [
        ("anna", "reference", 97),
        ("anna", "good", 81),
    ]


def test_a_written_file_comes_back_and_so_does_the_journal(tmp_path):
    test = make_test("mushra", 3)
    given = honest_mushra(np.random.default_rng(0), test, ["anna", "ben"])
    (tmp_path / "a.csv").write_text("\ufeff" + own_csv(given).replace("\n", "\r\n"), encoding="utf-8")
    rows = [dict.fromkeys(RESULT_COLUMNS, "") | {name: getattr(a, name, "") for name in RESULT_COLUMNS} for a in given]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    from_csv, from_journal = (join(test, read_results([tmp_path / f"a.{s}"]).answers) for s in ("csv", "jsonl"))
    assert from_csv.ratings == from_journal.ratings
    assert len(from_csv.ratings) == len(given)
    assert from_csv.notes == ()
    both = join(test, read_results([tmp_path]).answers)  # a server's folder holds both
    assert both.ratings == from_csv.ratings
    assert both.notes == (f"{len(given)} answers were there before ({tmp_path / 'a.jsonl'}); counted once",)


def test_a_journal_that_was_cut_off_loses_its_last_line_only(tmp_path):
    test = make_test("acr", 2)
    given = honest_acr(np.random.default_rng(0), test, ["anna"])
    rows = [{name: str(getattr(a, name, "")) for name in RESULT_COLUMNS} for a in given]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(text[:-20], encoding="utf-8")
    reading = read_results([tmp_path / "a.jsonl"])
    assert len(reading.answers) == len(given) - 1
    assert f"line {len(given)}: expected a JSON object" in reading.notes[0]


def test_semicolons_and_headers_in_the_middle(read):
    text = own_csv(honest_acr(np.random.default_rng(0), make_test("acr", 2), ["anna"]))
    reading, answers = read((text + text).replace(",", ";"), "acr")
    assert len(reading.answers) == 20
    assert len(answers.ratings) == 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stimulus,item,system\na,b,c\n", "expected the header of a result file"),
        ("session_test_id,trial_id,stimuli_rating1,stimuli,rating_time\n", "expected the header of a result file"),
        ("", "the file is empty"),
        ("test_id,method,listener,session,trial,stimulus,answer\n", "expected answers of listeners; found none"),
        (LSS.replace(",listener", ",age"), "questionnaire column 'listener'"),
        (LSS.replace("test-acr", "other"), "results of test 'other'; the key is of 'test-acr'"),
        (MUSHRA.replace("test-mushra", "test-acr"), "results of method 'mushra'; the key is of a acr test"),
        (LSS.replace("s0good", "nobody"), "no answer can be used"),
    ],
)
def test_what_cannot_be_used_is_one_line(read, text, said):
    with pytest.raises(ListeningError, match=said.replace("(", r"\(")) as error:
        read(text, "acr")
    assert "\n" not in str(error.value)


def test_a_folder_may_hold_other_tables_but_not_only(tmp_path):
    (tmp_path / "key.csv").write_text("stimulus,item\na,b\n")
    with pytest.raises(ListeningError, match="found none; left out"):
        read_results([tmp_path])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "lss.csv").write_text(LSS)
    reading = read_results([tmp_path])
    assert len(reading.answers) == 1
    assert reading.notes[0].startswith("left out ")
    with pytest.raises(ListeningError, match="cannot be read; No such file"):
        read_results([tmp_path / "nowhere.csv"])


def test_bad_lines_are_told_with_their_place(read):
    lines = [
        "test-acr,anna,t0good,4,s0good,100",
        "test-acr,anna,t0good,6,s0good,100",  # replaces the first, and is off the scale
        "test-acr,anna,t0poor,x,s0poor,100",
        "test-acr,anna,t9poor,3,s9poor,100",
        "test-acr,anna,t0poor,3,s1poor,100",
        "test-acr,anna,t0poor",
        "test-acr,anna,t1poor,2,s1poor,100",
    ]
    header = LSS.splitlines()[0]
    reading, answers = read("\n".join([header, *lines, ""]), "acr")
    assert [r.score for r in answers.ratings] == [2]
    told = "\n".join([*reading.notes, *answers.notes])
    assert "line 7: expected 6 fields; got 3" in told
    assert "line 3: expected a score from 1 to 5; got '6'; left out" in told
    assert "line 4: expected a score from 1 to 5; got 'x'; left out" in told
    assert "line 5: trial 't9poor' is not in the key; left out" in told
    assert "line 6: stimulus 's1poor' is not one of trial 't0poor'; left out" in told
    assert "1 answer replaces an earlier one that differs" in told
    assert "listener anna: 1 of 10 answers; kept" in told


def test_the_same_file_twice_counts_once(tmp_path):
    test = make_test("ab", 3)
    (tmp_path / "a.csv").write_text(own_csv(honest_pairs(np.random.default_rng(0), test, ["anna"])))
    once = join(test, read_results([tmp_path / "a.csv"]).answers)
    twice = join(test, read_results([tmp_path / "a.csv", tmp_path / "a.csv"]).answers)
    # NaN, no preference, is not equal to itself.
    assert str(once.choices) == str(twice.choices)
    assert twice.notes == (f"9 answers were there before ({tmp_path / 'a.csv'}); counted once",)


def test_training_pages_do_not_count():
    import dataclasses

    test = make_test("acr", 2)
    training = Trial("warmup", "speech/00", "", ("s0good",))
    test = dataclasses.replace(test, training=(training,))
    given = honest_acr(np.random.default_rng(0), test, ["anna"])
    extra = dataclasses.replace(given[0], trial="warmup")
    answers = join(test, [*given, extra])
    assert len(answers.ratings) == len(given)
    assert answers.notes == ("1 answer of training pages left out",)


@pytest.mark.parametrize(
    ("method", "played", "said", "x", "score"),
    [
        ("ab", "good-poor", "a", "", 1),
        ("ab", "poor-good", "a", "", 0),
        ("ab", "poor-good", "b", "", 1),
        ("cmos", "good-poor", "2", "", -2),  # B, the poor one, is better by 2
        ("cmos", "poor-good", "2", "", 2),
        ("abx", "good-poor", "a", "good", 1),
        ("abx", "good-poor", "b", "good", 0),
        ("abx", "poor-good", "b", "good", 1),
    ],
)
def test_pairs_do_not_depend_on_what_was_played_first(read, method, played, said, x, score):
    a, b = (f"s0{name}" for name in played.split("-"))
    row = {"test_id": f"test-{method}", "method": method, "listener": "anna", "session": "1", "trial": "t0p02"}
    row |= {"stimulus": a, "other": b, "x": x and f"s0{x}", "answer": said}
    _, answers = read(",".join(row) + "\n" + ",".join(row.values()) + "\n", method)
    (choice,) = answers.choices
    assert (choice.first, choice.second, choice.score) == ("good", "poor", score)


@pytest.mark.parametrize(
    ("method", "change", "said"),
    [
        ("ab", {"answer": "c"}, "expected an answer a, b, none; got 'c'"),
        ("cmos", {"answer": "4"}, "expected a score from -3 to 3; got '4'"),
        ("abx", {"answer": "a", "x": "s1good"}, "expected X to be A or B; got 's1good'"),
        ("ab", {"answer": "a", "other": "s0good"}, "expected two different stimuli"),
    ],
)
def test_pairs_that_cannot_be(read, method, change, said):
    row = {"test_id": f"test-{method}", "method": method, "listener": "anna", "session": "1", "trial": "t0p01"}
    row |= {"stimulus": "s0good", "other": "s0middling", "x": "", "answer": ""} | change
    with pytest.raises(ListeningError, match=said):
        read(",".join(row) + "\n" + ",".join(row.values()) + "\n", method)


def test_a_journal_counts_only_for_what_its_table_lacks(tmp_path):
    test = make_test("acr", 3)
    given = honest_acr(np.random.default_rng(0), test, ["anna"])
    rows = [{name: str(getattr(a, name, "")) for name in RESULT_COLUMNS} for a in given]
    (tmp_path / "journal").mkdir()
    journal = tmp_path / "journal" / "0.jsonl"
    journal.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "test-acr.csv").write_text(own_csv(given), encoding="utf-8")
    reading = read_results([tmp_path])
    assert join(test, reading.answers).notes == ()
    assert [source.file for source in reading.sources] == [str(tmp_path / "test-acr.csv")]
    # A table that could not be written anew lacks the last answers.
    (tmp_path / "test-acr.csv").write_text(own_csv(given[:-2]), encoding="utf-8")
    reading = read_results([tmp_path])
    assert join(test, reading.answers).notes == ()
    assert [source.answers for source in reading.sources] == [len(given) - 2, 2]


def test_one_repeated_answer_is_told_in_the_singular(tmp_path):
    test = make_test("acr", 3)
    given = honest_acr(np.random.default_rng(0), test, ["anna"])
    (tmp_path / "a.csv").write_text(own_csv([*given, given[0]]), encoding="utf-8")
    notes = join(test, read_results([tmp_path]).answers).notes
    assert notes == (f"1 answer was there before ({tmp_path / 'a.csv'}); counted once",)
