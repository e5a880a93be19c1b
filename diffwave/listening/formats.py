"""The kinds of result file, told apart by their first line: our CSV, webMUSHRA's PHP service, pymushra.

What webMUSHRA's columns mean was read in its ``service/write.php``, what pymushra's mean in its ``casting.py``.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from diffwave.listening.design import METHODS

# webMUSHRA's pages that are no method of ours: the grades of BS.1116, and "which of the two is the reference?".
BS1116, DETECTION = "bs1116", "detection"
# Any of these names the listener in a questionnaire.
_LISTENER_COLUMNS = ("listener", "listener_id")


class RowError(ValueError):
    """A line that cannot be read; the message says why."""


@dataclass(frozen=True)
class Answer:
    """One answer, as it stands in a file.

    Args:
        file, line: where it stands; lines count from 1.
        test_id: of the test; "" where the file does not say.
        method: one of ``METHODS``, ``bs1116`` or ``detection``.
        listener, session: who answered, and in which run; the session may be "".
        trial, stimulus, other, x: identifiers, as ``RESULT_COLUMNS`` says.
        answer: as written.
        reference_answer: bs1116 only: what the hidden reference got, as written.
        page_ms: time on the page; NaN if unknown.
    """

    file: str
    line: int
    test_id: str
    method: str
    listener: str
    session: str
    trial: str
    stimulus: str
    answer: str
    other: str = ""
    x: str = ""
    reference_answer: str = ""
    page_ms: float = math.nan

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.file}, line {self.line}"


Row = Mapping[str, str]
Convert = Callable[[Row, str, int], Answer]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Args:
        name: what people call it.
        columns: it is recognized by; others may stand between them.
        convert: turns a row, with file and line, into an answer; raises ``RowError``.
    """

    name: str
    columns: tuple[str, ...]
    convert: Convert


def delimiter_of(header: str) -> str:
    """Comma, semicolon (pymushra, and spreadsheets in half of Europe) or tab."""
    return max(",;\t", key=header.count)


def detect(header: str) -> tuple[Format, str]:
    """The format and the delimiter of a CSV file with this first line.

    Raises:
        RowError: if it is none of ours.
    """
    delimiter = delimiter_of(header)
    columns = next(csv.reader([header], delimiter=delimiter), [])
    for kind in FORMATS:
        if set(kind.columns) <= set(columns):
            return kind, delimiter
    known = ", ".join(kind.name for kind in FORMATS)
    raise RowError(f"expected the header of a result file ({known}); got {header:.80}")


def own_answer(row: Row, file: str, line: int) -> Answer:
    """An answer of our page or server."""
    if row["method"] not in METHODS:
        raise RowError(f"expected a method ({', '.join(METHODS)}); got {row['method']!r}")
    return Answer(
        file=file,
        line=line,
        test_id=row["test_id"],
        method=row["method"],
        listener=row["listener"] or row["session"],
        session=row["session"],
        trial=row["trial"],
        stimulus=row["stimulus"],
        answer=row["answer"],
        other=row.get("other", ""),
        x=row.get("x", ""),
        page_ms=_milliseconds(row.get("page_ms", "")),
    )


def _php(method: str, stimulus: str, answer: str, time: str, other: str = "", reference_answer: str = "") -> Convert:
    """Reader of one of the PHP service's files; the arguments after the method name columns."""

    def convert(row: Row, file: str, line: int) -> Answer:
        listener, session = _who(row, row.get("session_uuid", ""))
        return Answer(
            file=file,
            line=line,
            test_id=row["session_test_id"],
            method=method,
            listener=listener,
            session=session,
            trial=row["trial_id"],
            stimulus=row[stimulus],
            answer=row[answer].strip(),  # the Likert pages put spaces around it
            other=row[other] if other else "",
            reference_answer=row[reference_answer].strip() if reference_answer else "",
            page_ms=_milliseconds(row[time]),
        )

    return convert


# pymushra's type of page -> our method, and its columns of stimulus, answer, the other one, the reference's score.
_PYMUSHRA = {
    "mushra": ("mushra", "stimulus", "score", "", ""),
    "likert_single_stimulus": ("acr", "stimulus", "stimulusRating", "", ""),
    "likert_multi_stimulus": ("acr", "stimulus", "stimulusRating", "", ""),
    "bs1116": (BS1116, "nonReference", "nonReferenceScore", "reference", "referenceScore"),
    "paired_comparison": (DETECTION, "nonReference", "answer", "reference", ""),
}


def _pymushra_answer(row: Row, file: str, line: int) -> Answer:
    if row["wm_type"] not in _PYMUSHRA:
        raise RowError(f"expected a page of type {', '.join(_PYMUSHRA)}; got {row['wm_type']!r}")
    method, *names = _PYMUSHRA[row["wm_type"]]
    stimulus, answer, other, reference_answer = (row.get(f"responses_{name}", "") if name else "" for name in names)
    questions = {name.removeprefix("questionaire_"): value for name, value in row.items()}
    listener, session = _who(questions, row["questionaire_uuid"])
    return Answer(
        file=file,
        line=line,
        test_id=row["wm_testId"],
        method=method,
        listener=listener,
        session=session,
        trial=row["wm_id"],
        stimulus=stimulus,
        answer=answer.strip(),
        other=other,
        reference_answer=reference_answer.strip(),
        page_ms=_milliseconds(row.get("responses_time", "")),
    )


def _who(row: Row, session: str) -> tuple[str, str]:
    """Listener and session of a webMUSHRA row."""
    named = {name.strip().lower(): value.strip() for name, value in row.items()}
    listener = next((named[name] for name in _LISTENER_COLUMNS if named.get(name)), session)
    if not listener:
        raise RowError("expected a session_uuid or a questionnaire column 'listener'; got neither")
    return listener, session


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) and value >= 0 else math.nan


_WEBMUSHRA = "session_test_id", "trial_id"
_LIKERT = _php("acr", "stimuli", "stimuli_rating", "rating_time")
_GRADES = ("rating_reference", "rating_non_reference", "rating_reference_score", "rating_non_reference_score")
_CHOICE = ("choice_reference", "choice_non_reference", "choice_answer", "choice_time")
FORMATS = (
    Format("diffwave CSV", ("test_id", "method", "listener", "session", "trial", "stimulus", "answer"), own_answer),
    Format(
        "webMUSHRA mushra.csv",
        (*_WEBMUSHRA, "rating_stimulus", "rating_score", "rating_time"),
        _php("mushra", "rating_stimulus", "rating_score", "rating_time"),
    ),
    Format(
        "webMUSHRA bs1116.csv",
        (*_WEBMUSHRA, *_GRADES, "rating_time"),
        _php(BS1116, _GRADES[1], _GRADES[3], "rating_time", _GRADES[0], _GRADES[2]),
    ),
    Format(
        "webMUSHRA paired_comparison.csv",
        (*_WEBMUSHRA, *_CHOICE),
        _php(DETECTION, _CHOICE[1], _CHOICE[2], _CHOICE[3], _CHOICE[0]),
    ),
    Format("webMUSHRA lss.csv or lms.csv", (*_WEBMUSHRA, "stimuli_rating", "stimuli", "rating_time"), _LIKERT),
    Format("pymushra CSV", ("wm_type", "wm_id", "wm_testId", "questionaire_uuid"), _pymushra_answer),
)
