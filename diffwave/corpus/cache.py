"""Inspections that are kept, so that an interrupted run goes on and a second one is quick.

``inspected.jsonl`` has a line for each file: its path, size, time of modification, and what was found. Lines are
appended as they come; one that a kill cut short is ignored, and so is one of another format.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from diffwave.corpus.inspection import PASSING, Inspection
from diffwave.files import write_text

_FORMAT = 1


class InspectionCache:
    """What is known of files that have not changed since; a context that closes the file.

    Args:
        path: of the file with the lines, made if missing.

    Raises:
        OSError: if it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = _read(path)
        self._file: IO[str] = path.open("a+", encoding="utf-8")
        # Behind half a line, a line of its own begins.
        if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            self._file.write("\n")

    def __enter__(self) -> InspectionCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def get(self, path: Path) -> Inspection | None:
        """What was found in a file; None if it was never inspected, or has changed since."""
        stamp, found = self._known.get(str(path), ("", None))
        return found if stamp == _stamp(path) else None

    def add(self, path: Path, found: Inspection) -> None:
        """Remember at once, for a run that is killed; what a second look may find otherwise is not kept."""
        if found.reason in PASSING:
            return
        entry = (_stamp(path), found)
        self._known[str(path)] = entry
        self._file.write(_line(str(path), *entry))
        self._file.flush()

    def compact(self, paths: Iterable[Path]) -> None:
        """Keep one line for each of these files, in their order."""
        known = [(str(path), *self._known[str(path)]) for path in paths if str(path) in self._known]
        write_text(self.path, "".join(_line(*entry) for entry in known))


def _stamp(path: Path) -> str:
    """Size and time of modification; empty, which fits nothing, if the file is gone."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a third of the time of Path.stat, for 280,000 files
    except OSError:
        return ""
    return f"{status.st_size}@{status.st_mtime_ns}"


def _line(path: str, stamp: str, found: Inspection) -> str:
    return json.dumps({"format": _FORMAT, "path": path, "stamp": stamp, **asdict(found)}) + "\n"


def _read(path: Path) -> dict[str, tuple[str, Inspection]]:
    known: dict[str, tuple[str, Inspection]] = {}
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return known
    for line in lines:
        try:
            document: dict[str, Any] = json.loads(line)
            if document.pop("format") == _FORMAT and document["stamp"]:
                key, stamp = document.pop("path"), document.pop("stamp")
                known[key] = (stamp, Inspection(**document))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # cut short by a kill, or written by another version
    return known
