"""A small corpus for the tests of ``diffwave.bulk``, and what is seen of its synthesis."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile

SPEECH = Path(__file__).parent / "data" / "403-126855-0000.flac"


class Watch:
    """Progress that remembers, and may do something when a record comes."""

    def __init__(self, then: Callable[[int], None] = lambda count: None) -> None:
        self.records: list[dict[str, Any]] = []
        self.total = self.done = -1
        self.then = then

    def say(self, line: str) -> None:
        pass

    def begin(self, total: int, done: int) -> None:
        self.total, self.done = total, done

    def add(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        self.then(len(self.records))


def write_recordings(folder: Path, count: int) -> Path:
    """Pieces of speech of half a second and more, each of its own length, in two folders."""
    wav, rate = soundfile.read(SPEECH, dtype="float32")
    for number in range(count):
        path = folder / f"{number % 2}" / f"u{number:02d}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wav[400 * number : 400 * number + 8000 + 300 * number], rate)
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file that is not hidden, by relative path, as far as it holds what lasts."""
    paths = (path for path in folder.rglob("*") if path.suffix in (".wav", ".flac") or path.name == "manifest.jsonl")
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(paths)}


def children(parent: int, command: str = "") -> list[int]:
    """Process ids of the living children of a process whose command line holds some text (Linux)."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            is_child = int(fields["PPid"]) == parent and fields["State"][0] != "Z"
            if is_child and command in status.with_name("cmdline").read_text():
                found.append(int(fields["Pid"]))
    return found


def are_gone(processes: list[int], patience: float = 10.0) -> bool:
    """Whether processes end within some seconds."""
    begun = time.monotonic()
    while any(_is_alive(process) for process in processes):
        if time.monotonic() - begun > patience:
            return False
        time.sleep(0.02)
    return True


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
