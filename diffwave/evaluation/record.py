"""The record beside outputs, ``synthesis.json``: how each of them was made."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffwave
from diffwave.errors import reason

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SIDECAR = "synthesis.json"


@dataclass(frozen=True)
class Settings:
    """How outputs are made, with every default filled in.

    Args:
        checkpoint: name of the checkpoint's folder.
        mel: preset that the checkpoint's mels are of, or ``other``.
        sampler: ``ddpm``, ``ddim``, ``renoise``, ``dpm++`` or ``midpoint``.
        steps: network calls.
        schedule: the trained steps that they visit.
        consistency: mel-consistency iterations on the result.
        consistency_at: where else it worked: ``end`` (nowhere), ``steps`` or ``warm``.
        refinements: rounds of the refiner after that.
        seed: of the noise.
        device: where the network ran.
        backend: what ran its residual layers.
        precision: of their products.
    """

    checkpoint: str
    mel: str
    sampler: str
    steps: int
    schedule: list[float]
    consistency: int
    consistency_at: str
    refinements: int
    seed: int
    device: str
    backend: str
    precision: str


@dataclass(frozen=True)
class Result:
    """One output that was written.

    Args:
        source, output: the files.
        audio_seconds: length of the output.
        wall_seconds: what its synthesis took, without reading and writing; of a batch, its share.
        notes: what the user may want to know of the conversion.
    """

    source: Path
    output: Path
    audio_seconds: float
    wall_seconds: float
    notes: list[str]

    @property
    def real_time_factor(self) -> float:
        """Wall time per second of audio."""
        return self.wall_seconds / self.audio_seconds


def record(folder: Path, settings: DataclassInstance, results: list[Result]) -> str:
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
        rows[name] = row(result, settings, os.path.relpath(source, folder.resolve()), name)
    document = {"diffwave": diffwave.__version__, "outputs": [rows[name] for name in sorted(rows)]}
    try:
        write_text(path, json.dumps(document, indent=2) + "\n")
    except OSError as error:
        return f"{path}: the record of this synthesis cannot be written; {reason(error)}"
    return ""


def row(result: Result, settings: DataclassInstance, source: str, output: str) -> dict[str, Any]:
    """One output of the record, ready for JSON; ``settings`` are how it was made."""
    return {
        "input": source,
        "output": output,
        "audio_seconds": result.audio_seconds,
        "wall_seconds": result.wall_seconds,
        "real_time_factor": result.real_time_factor,
        **asdict(settings),
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
