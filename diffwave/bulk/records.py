"""What is done: a line for each output, written by workers as they go and gathered in a manifest of each shard.

A worker appends to a journal of its own as soon as an output has its name, so whatever is killed, on whatever machine,
at most the utterances in hand are done again. At the end of a run the journals of a shard become its manifest.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from diffwave.bulk.recorded_settings import STATE
from diffwave.files import write_text

Record = dict[str, Any]
MANIFEST = re.compile(r"shard-\d{5,}-of-\d{5,}\.jsonl")


def manifest_path(output: Path, shard: str) -> Path:
    """Of a shard, such as ``DIR/shard-00001-of-00004.jsonl``."""
    return output / f"shard-{shard}.jsonl"


def manifests(output: Path) -> list[Path]:
    """The manifests of all shards that are there, whatever their count."""
    return sorted(path for path in output.glob("shard-*.jsonl") if MANIFEST.fullmatch(path.name))


def work_folder(output: Path, shard: str) -> Path:
    """Where the processes of a shard's run leave notes for each other."""
    return output / STATE / "work" / shard


class WorkerJournal:
    """Lines of one worker. It is opened anew for each, so that other machines see it at once on a network drive.

    Args:
        output: folder of the corpus.
        shard: that the worker works on.
    """

    def __init__(self, output: Path, shard: str) -> None:
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self.path = work_folder(output, shard) / "journal" / name

    def add(self, record: Record) -> None:
        """Append a line; it outlives process and machine from now on."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(json.dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


class ShardJournals:
    """Reads the journals of shards; asked again, only what is new.

    Args:
        output: folder of the corpus.
        shard: whose; every shard's if not given.
    """

    def __init__(self, output: Path, shard: str = "*") -> None:
        self.folder, self.pattern = output / STATE / "work", f"{shard}/journal/*.jsonl"
        self._read: dict[Path, int] = {}

    def new(self) -> Iterator[Record]:
        """Whole lines that were not there the last time."""
        for path in sorted(self.folder.glob(self.pattern)):
            # A shard that ends takes its journals away.
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                data = file.read()
                whole = data.rfind(b"\n") + 1  # a process that is killed leaves half a line
                self._read[path] = self._read.get(path, 0) + whole
                yield from _parsed(data[:whole])


def read_manifest(path: Path) -> Iterator[Record]:
    """Lines of a shard's manifest; none if it is not there."""
    with contextlib.suppress(FileNotFoundError):
        yield from _parsed(path.read_bytes())


def _parsed(data: bytes) -> Iterator[Record]:
    for line in data.splitlines():
        # What cannot be read is not done; it is done again.
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and isinstance(record.get("id"), str):
                yield record


def known(output: Path, digest: str) -> dict[str, Record]:
    """The best record of every utterance, made with the settings ``digest`` (:func:`add`)."""
    found: dict[str, Record] = {}
    # Journals first: one that has just gone is in a manifest by now.
    add(found, ShardJournals(output).new(), digest)
    for path in manifests(output):
        add(found, read_manifest(path), digest)
    return found


def add(found: dict[str, Record], records: Iterable[Record], digest: str) -> None:
    """Take up records of the settings ``digest``: the done before the failed, then the later, then the scored."""
    for record in records:
        if record.get("settings") == digest and _rank(record) >= _rank(found.get(record["id"])):
            found[record["id"]] = record


def _rank(record: Record | None) -> tuple[bool, float, bool]:
    if record is None:
        return (False, 0.0, False)
    return ("error" not in record, float(record.get("finished", 0)), "scores" in record)


def is_done(output: Path, record: Record | None, source: Path) -> bool:
    """Whether an output is there as it is recorded, and its input is as large as it was."""
    if record is None or "error" in record:
        return False
    try:
        if (output / record["audio_filepath"]).stat().st_size != record["bytes"]:
            return False
        # An input that has gone cannot be made anew: what is there stays.
        return not source.exists() or source.stat().st_size == record["source_bytes"]
    except (OSError, KeyError, TypeError):
        return False


def forget(output: Path) -> None:
    """Take all records away: what they tell of is about to be made with other settings."""
    for path in manifests(output):
        path.unlink(missing_ok=True)
    for folder in (output / STATE / "work").glob("*/journal"):
        shutil.rmtree(folder, ignore_errors=True)


def write_shard(output: Path, shard: str, records: Iterable[Record]) -> None:
    """Write a shard's manifest, then take its journals away."""
    write_text(manifest_path(output, shard), "".join(json.dumps(record) + "\n" for record in records))
    shutil.rmtree(work_folder(output, shard) / "journal", ignore_errors=True)
