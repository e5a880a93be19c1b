"""Answers of listeners on disk, safe from a crash at any moment.

Every session has a journal: a file of JSON lines to which rows are appended and synced before they are acknowledged.
The table ``<test_id>.csv`` is written anew from the journals after each change, so it is always whole.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import threading
from pathlib import Path
from typing import Any

from diffwave.files import write_text
from diffwave.listening.design import RESULT_COLUMNS

Row = dict[str, str | int]

MAX_ROWS = 500  # in one request
_MAX_MS = 7 * 24 * 3600 * 1000
_COUNTS = {"position": 100_000, "slot": 100, "plays": 1_000_000, "listen_ms": _MAX_MS, "page_ms": _MAX_MS}
_TEXTS = {
    # No listener's name can be a formula in a spreadsheet, or leave a folder.
    "listener": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
    "session": re.compile(r"[0-9a-f]{16}"),
    "started_at": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z"),
    "user_agent": re.compile(r"([A-Za-z][\x20-\x7e]{0,399})?"),
}


class AnswerError(ValueError):
    """Answers that do not belong to the test; the message says what was expected."""


class AnswerStore:
    """The answers to one test, in a folder.

    Args:
        folder: made if it is missing; holds ``<test_id>.csv`` and ``journal/``.
        sheet: of the test; rows that do not fit it are refused.

    Raises:
        AnswerError: if another server writes to the folder, or it holds answers to another test.
        OSError: if the folder cannot be written.
    """

    def __init__(self, folder: Path, sheet: dict[str, Any]):
        self.sheet = sheet
        self.table = folder / f"{sheet['test_id']}.csv"
        self._journals = folder / "journal"
        self._journals.mkdir(parents=True, exist_ok=True)
        self._guard = threading.Lock()
        self._lock_folder(folder)
        # session -> (trial, stimulus) -> row; the key makes a row that is sent twice count once.
        self._rows: dict[str, dict[tuple[str, str], Row]] = {}
        for unfinished in folder.glob(f".{self.table.name[:40]}.*"):  # of a server that was killed
            unfinished.unlink()
        for path in sorted(self._journals.glob("*.jsonl")):
            self._read(path)
        self._write_table()

    @property
    def rows(self) -> list[Row]:
        """All answers, by session and in the order they came."""
        return [row for session in sorted(self._rows) for row in self._rows[session].values()]

    def close(self) -> None:
        """Let another server use the folder."""
        os.close(self._lock)

    def add(self, rows: Any) -> int:
        """Check rows and put them on the disk; returns how many were new.

        Rows that are there already (a browser tries again when it got no answer) are left as they are.

        Raises:
            AnswerError: if any row does not fit the test; none is kept then.
            OSError: if they could not be written; none is kept then.
        """
        if not isinstance(rows, list) or not 0 < len(rows) <= MAX_ROWS:
            raise AnswerError(f"expected a list of 1 to {MAX_ROWS} rows")
        checked = [check_row(row, self.sheet) for row in rows]
        session = str(checked[0]["session"])
        if any(row["session"] != session for row in checked):
            raise AnswerError("session: expected rows of one session")
        with self._guard:
            known = self._rows.get(session, {})
            new = {_key(row): row for row in checked if _key(row) not in known}
            if new:
                self._append(session, list(new.values()))
                self._write_table()
        return len(new)

    def _append(self, session: str, rows: list[Row]) -> None:
        path = self._journals / f"{session}.jsonl"
        fresh = not path.exists()
        lines = "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows).encode()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        size = os.fstat(handle).st_size
        try:
            written = os.write(handle, lines)
            if written != len(lines):
                raise OSError(28, "no space left for the answers")
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, size)  # half a line must not stand before the next one
            raise
        finally:
            os.close(handle)
        if fresh:
            _sync_folder(self._journals)
        self._rows.setdefault(session, {}).update({_key(row): row for row in rows})

    def _read(self, path: Path) -> None:
        """Take over a journal; a last line that a crash cut off was never acknowledged and is removed."""
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(path, len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                row = check_row(json.loads(line), self.sheet)
            except ValueError as error:  # of JSON, or an AnswerError
                raise AnswerError(f"{path}:{number}: {error}; choose another --results folder") from None
            self._rows.setdefault(str(row["session"]), {}).setdefault(_key(row), row)

    def _write_table(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, RESULT_COLUMNS)
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.table, text.getvalue())

    def _lock_folder(self, folder: Path) -> None:
        import fcntl

        self._lock = os.open(folder / "journal" / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise AnswerError(f"{folder}: another server collects answers here") from None


def check_row(row: Any, sheet: dict[str, Any]) -> Row:
    """A row as it may be kept: exactly the columns, in their order, with values that fit the test.

    Raises:
        AnswerError: if it does not; the message says what was expected.
    """
    if not isinstance(row, dict) or set(row) != set(RESULT_COLUMNS):
        raise AnswerError(f"expected the columns {', '.join(RESULT_COLUMNS)}")
    for name in ("test_id", "method", "order_seed"):
        if row[name] != sheet[name]:
            raise AnswerError(f"{name}: expected {sheet[name]!r}, as on the page")
    for name, most in _COUNTS.items():
        if not (isinstance(row[name], int) and not isinstance(row[name], bool) and 0 <= row[name] <= most):
            raise AnswerError(f"{name}: expected a whole number from 0 to {most}")
    for name, pattern in _TEXTS.items():
        if not (isinstance(row[name], str) and pattern.fullmatch(row[name])):
            raise AnswerError(f"{name}: expected text of another form")
    _check_stimuli(row, sheet)
    _check_answer(row["answer"], sheet["method"])
    return {name: row[name] for name in RESULT_COLUMNS}


def _check_stimuli(row: dict[str, Any], sheet: dict[str, Any]) -> None:
    stimuli = next((trial["stimuli"] for trial in sheet["trials"] if trial["trial"] == row["trial"]), None)
    if stimuli is None:
        raise AnswerError("trial: expected a trial of this test")
    pair = sheet["method"] in ("ab", "cmos", "abx")
    fits = row["stimulus"] in stimuli and (
        sorted([row["stimulus"], str(row["other"])]) == sorted(stimuli) if pair else row["other"] == ""
    )
    fits = fits and (row["x"] in stimuli if sheet["method"] == "abx" else row["x"] == "")
    if not fits:
        raise AnswerError("stimulus, other, x: expected the stimuli of the trial")


def _check_answer(answer: Any, method: str) -> None:
    if method in ("ab", "abx"):
        fits = answer in (("a", "b", "none") if method == "ab" else ("a", "b"))
    else:
        least, most = {"mushra": (0, 100), "acr": (1, 5), "cmos": (-3, 3)}[method]
        fits = isinstance(answer, int) and not isinstance(answer, bool) and least <= answer <= most
    if not fits:
        raise AnswerError(f"answer: expected an answer of a {method} test")


def _key(row: Row) -> tuple[str, str]:
    return str(row["trial"]), str(row["stimulus"])


def _sync_folder(folder: Path) -> None:
    """Make sure that a new file's name survives a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
