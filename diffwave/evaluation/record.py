"""The record beside outputs, ``synthesis.json``: how each of them was made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffwave
from diffwave.errors import reason

SIDECAR = "synthesis.json"


@dataclass(frozen=True)
class Result:
    """One output that was written.

    Args:
        source, output: the files.
        audio_seconds: length of the output.
        wall_seconds: what its synthesis took, without reading and writing; of a batch, its share.
        notes: what the user may want to know of the conversion.
        how: it was made, where that is not the same for all.
    """

    source: Path
    output: Path
    audio_seconds: float
    wall_seconds: float
    notes: list[str]
    how: Mapping[str, Any] = field(default_factory=dict)

    @property
    def real_time_factor(self) -> float:
        """Wall time per second of audio."""
        return self.wall_seconds / self.audio_seconds


def record(folder: Path, how: Mapping[str, Any], results: list[Result]) -> str:
    """Write how the outputs of ``folder`` were made, beside what earlier calls recorded.

    Inputs are named relative to the folder, so that both can move together.

    Returns:
        What went wrong, in words; empty if nothing.
    """
    from diffwave.files import write_text

    path = folder / SIDECAR
    rows = {name: row for name, row in read_record(folder).items() if (folder / name).is_file()}
    for result in results:
        name = result.output.relative_to(folder).as_posix()
        source = result.source.parent.resolve() / result.source.name
        rows[name] = row(result, how, os.path.relpath(source, folder.resolve()), name)
    document = {"diffwave": diffwave.__version__, "outputs": [rows[name] for name in sorted(rows)]}
    try:
        write_text(path, json.dumps(document, indent=2) + "\n")
    except OSError as error:
        return f"{path}: the record of this synthesis cannot be written; {reason(error)}"
    return ""


def row(result: Result, how: Mapping[str, Any], source: str, output: str) -> dict[str, Any]:
    """One output of the record, ready for JSON; ``how`` says how it was made."""
    return {
        "input": source,
        "output": output,
        "audio_seconds": result.audio_seconds,
        "wall_seconds": result.wall_seconds,
        "real_time_factor": result.real_time_factor,
        **how,
        **result.how,
        "notes": result.notes,
    }


def totals(results: list[Result]) -> dict[str, float | None]:
    """Seconds of audio, seconds of work, and their quotient (none without any audio)."""
    audio = sum(result.audio_seconds for result in results)
    wall = sum(result.wall_seconds for result in results)
    return {"audio_seconds": audio, "wall_seconds": wall, "real_time_factor": wall / audio if audio else None}


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """What is recorded of each output of a folder, by relative path; empty if there is no record that can be read."""
    try:
        rows = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))["outputs"]
        return {str(row["output"]): dict(row) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
