"""Reading what listeners answered from the files that tests leave; what an answer means is not known here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffwave.listening.documents import ListeningError
from diffwave.listening.formats import FORMATS, Answer, Format, Row, RowError, detect

SUFFIXES = (".csv", ".jsonl")
_OWN = FORMATS[0]


@dataclass(frozen=True)
class AnswerFile:
    """A file that was read.

    Args:
        file: its path, as it was given.
        kind: of file.
        answers: how many it holds.
    """

    file: str
    kind: str
    answers: int


@dataclass(frozen=True)
class Reading:
    """Everything that was read.

    Args:
        answers: in the order of files and lines.
        sources: the files.
        notes: what could not be read, and where; each one line.
    """

    answers: tuple[Answer, ...]
    sources: tuple[AnswerFile, ...]
    notes: tuple[str, ...]


def read_results(paths: Sequence[Path]) -> Reading:
    """Read result files.

    Args:
        paths: files, or folders that are searched for ``.csv`` and ``.jsonl`` files.

    Raises:
        ListeningError: if a path is not there, a named file is no result file, or nobody answered anything.
    """
    answers: list[Answer] = []
    sources: list[AnswerFile] = []
    notes: list[str] = []
    known: set[tuple[str, ...]] = set()
    for path in paths:
        for file in _files(path):
            try:
                kind, found, complaints = _read(file)
            except ListeningError as error:
                if path == file:
                    raise
                # A folder of results may hold other tables.
                notes.append(f"left out {error}")
                continue
            notes += complaints
            if _is_journal(file):
                found = [answer for answer in found if _content(answer) not in known]
                if not found:
                    continue
            known |= set(map(_content, found))
            answers += found
            sources.append(AnswerFile(str(file), kind, len(found)))
    if not answers:
        said = f"; {notes[0]}" if notes else ""
        raise ListeningError(f"{', '.join(map(str, paths))}: expected answers of listeners; found none{said}")
    return Reading(tuple(answers), tuple(sources), tuple(notes))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    found = sorted(files, key=lambda file: (_is_journal(file), file))
    if not found:
        raise ListeningError(f"{path}: expected result files ({', '.join(SUFFIXES)}) in this folder; found none")
    return found


def _is_journal(file: Path) -> bool:
    """Whether a server wrote it beside its table, which has the same answers unless writing it failed."""
    return file.suffix == ".jsonl" and file.parent.name == "journal"


def _content(answer: Answer) -> tuple[str, ...]:
    """What an answer says, wherever it stands."""
    return answer.listener, answer.session, answer.trial, answer.stimulus, answer.answer


def _read(file: Path) -> tuple[str, list[Answer], list[str]]:
    """Kind of file, its answers, and what is wrong with single lines."""
    try:
        text = file.read_text(encoding="utf-8-sig")  # spreadsheets put a mark in front of what they save
    except UnicodeDecodeError:
        raise ListeningError(f"{file}: expected UTF-8 text") from None
    except OSError as error:
        raise ListeningError(f"{file}: cannot be read; {error.strerror or error}") from None
    text = text.lstrip("\r\n")
    if not text:
        raise ListeningError(f"{file}: expected results; the file is empty")
    if text.startswith("{"):
        return "diffwave journal", *_collect(str(file), _OWN, _journal_rows(text))
    try:
        kind, delimiter = detect(text.splitlines()[0])
    except RowError as error:
        raise ListeningError(f"{file}: {error}") from None
    return kind.name, *_collect(str(file), kind, _csv_rows(text, delimiter))


def _collect(file: str, kind: Format, rows: Iterator[tuple[int, Row | str]]) -> tuple[list[Answer], list[str]]:
    """Answers of the rows, and a note for each that is none."""
    answers, notes = [], []
    for line, row in rows:
        try:
            if isinstance(row, str):
                raise RowError(row)
            answers.append(kind.convert(row, file, line))
        except RowError as error:
            notes.append(f"{file}, line {line}: {error}")
    return answers, notes


def _csv_rows(text: str, delimiter: str) -> Iterator[tuple[int, Row | str]]:
    """Line and fields of each row, or what is wrong with it."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = next(reader)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, f"expected CSV; {error}"
            continue
        # Files that were put together bring their headers along.
        if not row or row == header:
            continue
        if len(row) == len(header):
            yield reader.line_num, dict(zip(header, row, strict=True))
        else:
            yield reader.line_num, f"expected {len(header)} fields; got {len(row)}"


def _journal_rows(text: str) -> Iterator[tuple[int, Row | str]]:
    """Line and fields of each object; a server that was stopped may have left its last line unfinished."""
    for line, part in enumerate(text.splitlines(), 1):
        if not part.strip():
            continue
        try:
            entry = json.loads(part)
        except ValueError:
            yield line, "expected a JSON object; the line is damaged"
            continue
        rows = entry.get("rows", [entry]) if isinstance(entry, dict) else [entry]
        for row in rows:
            if isinstance(row, dict) and set(_OWN.columns) <= set(row):
                yield line, {str(key): "" if value is None else str(value) for key, value in row.items()}
            else:
                yield line, f"expected an object with {', '.join(_OWN.columns)}"
