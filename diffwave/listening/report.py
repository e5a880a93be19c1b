"""The report of a listening test: one HTML file, and the files beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffwave.evaluation.statistics import Interval
from diffwave.files import atomic_path, write_text
from diffwave.listening.analysis import Analysis, ListeningOutcome
from diffwave.listening.analysis_documents import MEASURES, bounds, number, p_text, ratings_text, summary, without
from diffwave.listening.design import SYSTEM, ListeningTest
from diffwave.listening.documents import ListeningError
from diffwave.listening.methods import methods_text, screening_text
from diffwave.listening.pictures import draw_scores
from diffwave.listening.report_tables import folded, items_section, results
from diffwave.listening.result_files import Reading
from diffwave.listening.system_scores import SystemDifference
from diffwave.listening.words import counted
from diffwave.web.page import Raw, details, heading, page, paragraph, picture, table

REPORT, SUMMARY, RATINGS, PICTURE = "report.html", "summary.json", "ratings.csv", "scores.png"


def write_report(
    folder: Path, test: ListeningTest, reading: Reading, analysis: Analysis, force: bool = False
) -> dict[str, Any]:
    """Write ``report.html``, ``summary.json``, ``ratings.csv`` and ``scores.png``; the same input gives the same bytes.

    Args:
        folder: made if it is not there.
        test, reading, analysis: what to report.
        force: write into a folder that holds something.

    Returns:
        The summary.

    Raises:
        ListeningError: if the folder holds something, or cannot be written.
    """
    check_folder(folder, force)
    document = summary(test, reading, analysis)
    figure = draw_scores(analysis)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / PICTURE) as temporary:
            figure.savefig(temporary, metadata={"Software": None})
        write_text(folder / RATINGS, ratings_text(analysis))
        write_text(folder / SUMMARY, summary_text(document))
        write_text(folder / REPORT, report_page(test, reading, analysis))
    except OSError as error:
        raise ListeningError(f"{folder}: cannot be written; {error.strerror or error}") from None
    return document


def check_folder(folder: Path, force: bool) -> None:
    """Refuse a place that is no folder or holds something.

    Raises:
        ListeningError: saying which.
    """
    if folder.exists() and not folder.is_dir():
        raise ListeningError(f"{folder}: expected a folder for the report; it is a file")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise ListeningError(f"{folder}: expected an empty or new folder; --force writes into it")


def summary_text(document: dict[str, Any]) -> str:
    """The summary as JSON."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def report_page(test: ListeningTest, reading: Reading, analysis: Analysis) -> str:
    """The report as one HTML document that needs nothing else."""
    method = analysis.answers.method
    parts = [*_overview(test, reading, analysis)]
    description = f"{MEASURES[method]} with 95 % intervals; the numbers are in the table below"
    parts.append(picture(draw_scores(analysis), description, _caption(analysis)))
    shown = without(analysis)
    parts += results(method, shown, "after screening" if analysis.excluded and analysis.screened else "all listeners")
    if analysis.excluded and analysis.screened:
        everybody = results(method, analysis.everybody, "all listeners, without screening", 3)
        parts += [heading("Without screening"), *everybody]
    if shown.items:
        parts += items_section(method, shown)
    parts += _listeners(analysis)
    parts += _notes(reading, analysis)
    parts += [heading("Methods"), *(paragraph(text) for text in methods_text(method))]
    return page(test.title or test.test_id, parts)


def _overview(test: ListeningTest, reading: Reading, analysis: Analysis) -> Iterator[str]:
    shown, method = without(analysis), analysis.answers.method
    sessions = len(analysis.answers.runs)
    yield paragraph(
        f"{method.upper()} listening test {test.test_id}: {counted(analysis.everybody.listeners, 'listener')} in "
        f"{counted(sessions, 'session')}, {counted(len({trial.item for trial in test.trials}), 'item')}, "
        f"{counted(analysis.everybody.answers, 'answer')} from {counted(len(reading.sources), 'file')}.",
        "lead",
    )
    if analysis.screened is None:
        yield paragraph("The screening leaves nobody: what follows is of all listeners and says little.", "warn")
    elif analysis.excluded:
        names = ", ".join(sorted(analysis.excluded))
        yield paragraph(f"Left out by the screening: {names}. Results are shown with and without.")
    if any(run.answers < run.expected for run in analysis.answers.runs) or reading.notes or analysis.answers.notes:
        yield paragraph(Raw('Some answers are missing or were left out: see <a href="#notes">the notes</a>.'))
    findings = [*_findings(method, shown)]
    if findings:
        yield "<ul>" + "".join(f"<li>{sentence}</li>" for sentence in map(_escaped, findings)) + "</ul>"


def _findings(method: str, outcome: ListeningOutcome) -> Iterator[str]:
    """One sentence for each pair of systems."""
    systems = {score.system for score in outcome.systems if score.kind == SYSTEM}
    figure = number(method)
    for d in outcome.differences:
        if {d.first, d.second} <= systems:
            yield _difference(method, d)
    for c in outcome.comparisons:
        said = f"{figure(c.mean.mean)} {bounds(method, c.mean)}"
        if method in ("ab", "cmos"):
            half = 0.5 if method == "ab" else 0.0
            word = "preferred to" if method == "ab" else "rated better than"
            unit = f" of the answers with a preference are for {c.first}" if method == "ab" else f" for {c.first}"
            verdict = f"{c.first} and {c.second}: no preference shown"
            # The interval, not the exact test: that one takes answers of one listener as independent.
            if c.mean.low > half:
                verdict = f"{c.first} is {word} {c.second}"
            elif c.mean.high < half:
                verdict = f"{c.second} is {word} {c.first}"
            yield f"{verdict}: {said}{unit}."
        else:
            told = "are told apart" if c.mean.low > 0.5 else "were not shown to be told apart"
            yield f"{c.first} and {c.second} {told}: {said} correct."


def _difference(method: str, d: SystemDifference) -> str:
    """A verdict only where interval and test agree: they see different variance, the one of items too."""
    mean, verdict = d.mean, f"{d.first} and {d.second}: no difference shown"
    if d.p_holm < 0.05 and mean.low > 0:
        verdict = f"{d.first} is rated better than {d.second}"
    elif d.p_holm < 0.05 and mean.high < 0:
        # The number has the order of the sentence.
        verdict, mean = f"{d.second} is rated better than {d.first}", Interval(-mean.mean, -mean.high, -mean.low)
    said = f"{number(method, True)(mean.mean)} {bounds(method, mean, True)}"
    return f"{verdict}: difference {said}, p = {p_text(d.p_holm)}.".replace("= <", "<")


def _caption(analysis: Analysis) -> str:
    text = "Dots: mean and 95 % interval over listeners and items; small dots: means of the listeners."
    if analysis.excluded and analysis.screened:
        text += " Hollow, above: all listeners, without screening."
    return text


def _listeners(analysis: Analysis) -> Iterator[str]:
    yield heading("Listeners")
    yield paragraph(screening_text(analysis.answers.method), "soft")
    rows = [
        [
            verdict.listener,
            Raw('<span class="warn">left out</span>') if verdict.excluded else "kept",
            f"{verdict.answers} of {verdict.expected}",
            "; ".join(verdict.reasons) or "–",
            "; ".join(verdict.remarks) or "–",
        ]
        for verdict in sorted(analysis.verdicts, key=lambda verdict: not verdict.excluded)
    ]
    yield table(["listener", "verdict", "answers", "reasons", "remarks"], rows, numbers=False)
    if analysis.outliers:
        figure = number(analysis.answers.method)
        header = ["listener", "item", "system", "score", "others lie within"]
        found = [
            [o.listener, o.item, o.system, figure(o.score), f"{figure(o.low)} – {figure(o.high)}"]
            for o in analysis.outliers
        ]
        yield details(
            f"{counted(len(found), 'rating')} outside 1.5 interquartile ranges: to be examined, none was removed",
            [table(header, found)],
        )


def _notes(reading: Reading, analysis: Analysis) -> Iterator[str]:
    yield '<h2 id="notes">Notes</h2>'
    files = [[source.file, source.kind, str(source.answers)] for source in reading.sources]
    yield folded("files", len(files), table(["file", "kind", "answers"], files, numbers=False))
    notes = [*reading.notes, *analysis.answers.notes]
    listed = "<ul>" + "".join(f"<li>{_escaped(note)}</li>" for note in notes) + "</ul>"
    yield folded("notes", len(notes), listed) if notes else paragraph("Every answer was read, every session is whole.")


def _escaped(text: str) -> str:
    """Plain text as HTML."""
    return paragraph(text).removeprefix("<p>").removesuffix("</p>")
