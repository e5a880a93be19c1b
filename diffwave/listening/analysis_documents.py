"""An analysis as documents: JSON for programs, a long table of ratings, and the rows of the main table."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from typing import Any

from diffwave.evaluation.statistics import Interval
from diffwave.listening.analysis import Analysis, ListeningOutcome
from diffwave.listening.comparisons import Comparison
from diffwave.listening.design import ListeningTest
from diffwave.listening.formats import BS1116, DETECTION
from diffwave.listening.methods import screening_text
from diffwave.listening.ratings import PairChoice, Rating
from diffwave.listening.result_files import Reading
from diffwave.listening.system_scores import SystemScore

# What a method's number is called.
MEASURES = {
    "mushra": "MUSHRA score",
    "acr": "MOS",
    BS1116: "difference grade",
    "cmos": "CMOS",
    "ab": "preference for the first",
    "abx": "share of correct answers",
    DETECTION: "share of correct answers",
}
_RATING_COLUMNS = ("listener", "session", "trial", "item", "system", "kind", "score", "excluded")
_CHOICE_COLUMNS = ("listener", "session", "trial", "item", "first", "second", "score", "answer", "excluded")


def summary(test: ListeningTest, reading: Reading, analysis: Analysis) -> dict[str, Any]:
    """Everything that the analysis says, for a program; numbers that are not known are ``None``."""
    answers = analysis.answers
    document = {
        "test_id": test.test_id,
        "title": test.title,
        "method": answers.method,
        "measure": MEASURES[answers.method],
        "package_version": test.package_version,
        "systems": answers.systems,
        "items": len({trial.item for trial in test.trials}),
        "files": [dataclasses.asdict(source) for source in reading.sources],
        "notes": [*reading.notes, *answers.notes],
        "screening": {
            "rules": screening_text(answers.method),
            "excluded": sorted(analysis.excluded),
            "listeners": [{**dataclasses.asdict(v), "excluded": v.excluded} for v in analysis.verdicts],
            "outliers": [dataclasses.asdict(outlier) for outlier in analysis.outliers],
        },
        "everybody": dataclasses.asdict(analysis.everybody),
        "screened": dataclasses.asdict(analysis.screened) if analysis.screened else None,
    }
    plain: dict[str, Any] = _plain(document)
    return plain


def _plain(value: Any) -> Any:
    """Tuples as lists and NaN as None, as JSON has it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def ratings_text(analysis: Analysis) -> str:
    """Every answer that was used as CSV, with what it is about; an answer without a decision has no score."""
    answers, excluded = analysis.answers, analysis.excluded
    text = io.StringIO()
    columns = _RATING_COLUMNS if answers.ratings else _CHOICE_COLUMNS
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    given: tuple[Rating | PairChoice, ...] = answers.ratings or answers.choices
    for answer in given:
        values = dataclasses.asdict(answer)
        values["answer"] = values.get("said")
        values["excluded"] = "yes" if answer.listener in excluded else "no"
        values["score"] = "" if math.isnan(answer.score) else f"{answer.score:g}"
        writer.writerow([values[name] for name in columns])
    return text.getvalue()


def score_table(analysis: Analysis) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the main table: after screening, and beside it the mean of everybody."""
    method = analysis.answers.method
    shown, everybody = analysis.screened or analysis.everybody, analysis.everybody
    if analysis.answers.choices:
        rest = {(c.first, c.second): c for c in everybody.comparisons}
        exact = [] if method == "cmos" else ["undecided", "p exact"]
        header = ["first", "second", "answers", "mean", "95 %", "p of listeners", *exact, "all listeners"]
        rows = [_comparison_row(method, c, rest[c.first, c.second]) for c in shown.comparisons]
        return header, rows
    of_all = {score.system: score for score in everybody.systems}
    header = ["system", "kind", "votes", "mean", "95 %", "median", "all listeners"]
    return header, [_score_row(method, score, of_all[score.system]) for score in shown.systems]


def _score_row(method: str, score: SystemScore, everybody: SystemScore) -> list[str]:
    figure = number(method)
    return [
        score.system,
        score.kind,
        str(score.votes),
        figure(score.mean.mean),
        bounds(method, score.mean),
        figure(score.median),
        f"{figure(everybody.mean.mean)} {bounds(method, everybody.mean)}",
    ]


def _comparison_row(method: str, shown: Comparison, everybody: Comparison) -> list[str]:
    figure = number(method)
    return [
        shown.first,
        shown.second,
        str(shown.answers),
        figure(shown.mean.mean),
        bounds(method, shown.mean),
        p_text(shown.p_listeners_holm),
        *([] if method == "cmos" else [str(shown.undecided), p_text(shown.p_holm)]),
        f"{figure(everybody.mean.mean)} {bounds(method, everybody.mean)}",
    ]


class _Figure:
    """Writes numbers of a method as it is used to."""

    def __init__(self, form: str, percent: bool, signed: bool) -> None:
        self._form, self._percent, self._sign = form, percent, "+" if signed else ""

    def __call__(self, value: float) -> str:
        if math.isnan(value):
            return "–"
        scaled = 100 * value if self._percent else value
        text = format(scaled, self._sign + self._form)
        # Rounding to zero leaves a sign that means nothing.
        text = text.lstrip("+-") if float(text) == 0 else text
        return (text + " %" if self._percent else text).replace("-", "−")


def number(method: str, difference: bool = False) -> _Figure:
    """How to write the numbers of a method; differences and comparison grades carry their sign."""
    percent = method in ("ab", "abx", DETECTION)
    return _Figure(".1f" if percent or method == "mushra" else ".2f", percent, difference or method == "cmos")


def bounds(method: str, interval: Interval, difference: bool = False) -> str:
    """An interval as text; empty if there is none."""
    if math.isnan(interval.low):
        return "–"
    figure = number(method, difference)
    return f"[{figure(interval.low)}, {figure(interval.high)}]"


def p_text(p: float) -> str:
    """A p value as text.

    >>> p_text(0.00004), p_text(0.0312)
    ('< 0.001', '0.031')
    """
    if math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def without(analysis: Analysis) -> ListeningOutcome:
    """The statistics to show first: those after screening, or everybody's if nobody is left."""
    return analysis.screened or analysis.everybody
