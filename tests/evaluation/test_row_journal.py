"""The journal: what was finished stays finished, and nothing else is taken for it."""

from __future__ import annotations

import json

import pytest

from diffwave.evaluation.outcome import Outcome
from diffwave.evaluation.pairs import EvaluationError
from diffwave.evaluation.row_journal import NAME, RowJournal

REQUEST = {"metrics": ["level"], "systems": {"a": "/x"}}
OUTCOMES = [
    Outcome(5, "ok", "", 1.5, {"level": 0.1 + 0.2}, {}),
    Outcome(6, "crashed", "dïed\n", None, {}, {"pesq_wb": "pesq_wb: \ud800"}),
]


@pytest.fixture
def journal(tmp_path) -> RowJournal:
    """A journal of two rows."""
    journal = RowJournal(tmp_path, REQUEST)
    journal.begin()
    for index, outcome in enumerate(OUTCOMES):
        journal.add(("a", f"u{index}"), outcome)
    journal.close()
    return journal


def again(journal: RowJournal, request: dict = REQUEST) -> RowJournal:
    return RowJournal(journal.path.parent, request)


def test_rows_come_back_as_they_were(journal):
    for (key, found), (index, outcome) in zip(journal.rows(), enumerate(OUTCOMES), strict=True):
        assert key == ("a", f"u{index}")
        assert (found.status, found.error, found.seconds) == (outcome.status, outcome.error, outcome.seconds)
        assert (found.scores, found.errors) == (outcome.scores, outcome.errors)


def test_resuming_goes_on_after_the_last_line(journal):
    resumed = again(journal)
    assert resumed.resume() == {("a", "u0"), ("a", "u1")}
    resumed.add(("a", "u2"), OUTCOMES[0])
    resumed.close()
    assert [key[1] for key, _ in resumed.rows()] == ["u0", "u1", "u2"]


@pytest.mark.parametrize("torn", [1, 20, 60, 5000])
def test_a_last_line_that_was_cut_short_is_dropped(torn, journal):
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + (b'{"key": ["a", "' + b"u" * 5000)[:torn])
    resumed = again(journal)
    assert resumed.resume() == {("a", "u0"), ("a", "u1")}
    resumed.close()
    assert journal.path.read_bytes() == whole


def test_every_cut_of_a_journal_can_be_gone_on_with(journal):
    whole = journal.path.read_bytes()
    for size in range(len(whole)):
        journal.path.write_bytes(whole[:size])
        resumed = again(journal)
        assert len(resumed.resume()) == max(0, whole[:size].count(b"\n") - 1)
        resumed.close()


@pytest.mark.parametrize(
    ("request_now", "words"),
    [
        ({"metrics": ["stoi"], "systems": {"a": "/x"}}, "metrics differ"),
        ({"metrics": ["stoi"], "systems": {"b": "/x"}}, "metrics, systems differ"),
        ({**REQUEST, "device": "cuda"}, "device differ"),
        ({"metrics": ["level"]}, "differ"),
    ],
)
def test_another_request_is_refused_with_what_differs(request_now, words, journal):
    before = journal.path.read_bytes()
    with pytest.raises(EvaluationError, match=words):
        again(journal, request_now).resume()
    assert journal.path.read_bytes() == before


@pytest.mark.parametrize(
    "line", [b"\0\0\0\0", b"not json", b"\xff", b"5", b'{"key": ["a"]}', b'{"key": ["a", "b"], "x": 1}']
)
def test_a_damaged_line_is_said_in_words(line, journal):
    lines = journal.path.read_bytes().splitlines()
    journal.path.write_bytes(b"\n".join([lines[0], line, *lines[1:]]) + b"\n")
    with pytest.raises(EvaluationError, match=NAME):
        again(journal).resume()


@pytest.mark.parametrize("line", [b"[]", b"5", b'"request"', b'{"request": 5}', b"x"])
def test_what_is_no_journal_is_refused(line, journal):
    journal.path.write_bytes(line + b"\n")
    with pytest.raises(EvaluationError, match=NAME):
        again(journal).resume()


def test_a_row_is_on_disk_before_the_next_begins(tmp_path):
    journal = RowJournal(tmp_path, REQUEST)
    journal.begin()
    journal.add(("a", "b"), OUTCOMES[0])
    assert json.loads(journal.path.read_text().splitlines()[-1])["key"] == ["a", "b"]
    journal.close()
