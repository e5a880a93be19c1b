"""The journal of an evaluation: one JSON line for each finished row, so that a run that was killed can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from diffwave.evaluation.outcome import Outcome
from diffwave.evaluation.pairs import EvaluationError

NAME = "journal.jsonl"


class RowJournal:
    """Rows as they finish. The first line says what was asked for; the others are ``{"key": [...], ...}``.

    Args:
        folder: of the report.
        request: what the rows depend on: metrics, systems, versions. A run with another request cannot go on here.
    """

    def __init__(self, folder: Path, request: dict[str, Any]) -> None:
        self.path = folder / NAME
        self.request = json.loads(json.dumps(request))
        self._file: TextIO | None = None

    def begin(self) -> None:
        """Start anew, forgetting what was there."""
        self._file = self.path.open("w", encoding="ascii")
        self._write({"request": self.request})

    def resume(self) -> set[tuple[str, str]]:
        """Go on after the last whole line; returns the keys of the rows that are done.

        Raises:
            EvaluationError: if the journal is of another request.
        """
        if not self.path.is_file() or self.path.stat().st_size == 0:
            self.begin()
            return set()
        whole = self._cut()
        if whole == 0:  # killed while the first line was written
            self.begin()
            return set()
        header = next(_lines(self.path), None)
        if header is None or not isinstance(header.get("request"), dict):
            raise EvaluationError(f"{self.path}: expected the journal of an evaluation; begin anew with --force")
        if header["request"] != self.request:
            differing = [key for key in self.request if header["request"].get(key) != self.request[key]]
            raise EvaluationError(
                f"{self.path}: expected the journal of the same evaluation; {', '.join(differing) or 'settings'} "
                "differ (--force begins anew)"
            )
        self._file = self.path.open("a", encoding="ascii")
        assert self._file.tell() == whole
        return {key for key, _ in self.rows()}

    def _cut(self) -> int:
        """Drop a last line that the end of the process cut short; returns the length that stays."""
        with self.path.open("rb+") as file:
            data_end = file.seek(0, os.SEEK_END)
            position = data_end
            while position > 0:
                start = max(0, position - 4096)
                file.seek(start)
                found = file.read(position - start).rfind(b"\n")
                if found >= 0:
                    position = start + found + 1
                    break
                position = start
            file.truncate(position)
        return position

    def add(self, key: tuple[str, str], outcome: Outcome) -> None:
        """Append a row; it outlives the process from now on."""
        row = asdict(outcome)
        del row["row"]
        self._write({"key": list(key), **row})

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def rows(self) -> Iterator[tuple[tuple[str, str], Outcome]]:
        """Finished rows with their keys, in the order in which they finished."""
        for line in _lines(self.path):
            if "key" in line:
                try:
                    system, utterance = line.pop("key")
                    outcome = Outcome(row=-1, **line)
                except (TypeError, ValueError):
                    raise _damaged(self.path) from None
                yield (system, utterance), outcome

    def _write(self, line: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="ascii") as file:
        try:
            for text in file:
                line = json.loads(text)
                if not isinstance(line, dict):
                    raise _damaged(path)
                yield line
        except (UnicodeDecodeError, json.JSONDecodeError):
            raise _damaged(path) from None


def _damaged(path: Path) -> EvaluationError:
    return EvaluationError(f"{path}: expected one JSON object per line; a line is damaged (--force begins anew)")
