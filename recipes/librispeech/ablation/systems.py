"""Let a checkpoint, or no network at all, speak the validation utterances, and score what it said."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablation.settings import METRICS, STEPS, Laboratory
from ablation.training import VariantError
from diffwave.evaluation.metrics import METRICS as KNOWN
from diffwave.evaluation.metrics import choose
from diffwave.evaluation.pairs import match
from diffwave.evaluation.row_journal import RowJournal
from diffwave.evaluation.run import RunSettings, run

ALONE, CONSISTENT = "alone", "consistent"


@dataclass(frozen=True)
class Floor:
    """A system without a network.

    Args:
        name: in results.
        label: in the table.
        system: of ``diffwave baseline``.
        iterations: of it.
    """

    name: str
    label: str
    system: str
    iterations: int


FLOORS = (
    Floor("griffin-lim-60", "Griffin-Lim, 60 iterations", "griffin-lim", 60),
    Floor("consistency-60", "60 iterations of mel consistency from noise", "mel-consistency", 60),
    Floor("consistency-200", "200 iterations of mel consistency from noise", "mel-consistency", 200),
)


def metric_names() -> tuple[list[str], list[str]]:
    """Columns that this version of the evaluation has, and those that it lacks."""
    return [name for name in METRICS if name in KNOWN], [name for name in METRICS if name not in KNOWN]


def synthesize(run_dir: Path, laboratory: Laboratory) -> dict[str, Path]:
    """Copy synthesis with six steps, alone and with consistency; returns the folders.

    Raises:
        VariantError: if ``diffwave synthesize`` fails.
    """
    folders = {ALONE: run_dir / ALONE, CONSISTENT: run_dir / CONSISTENT}
    for kind, iterations in ((ALONE, 0), (CONSISTENT, laboratory.consistency)):
        command = ["synthesize", str(laboratory.reference), "--checkpoint", str(run_dir), "--steps", str(STEPS)]
        command += ["--consistency", str(iterations), "--device", laboratory.device]
        _speak(command, folders[kind])
    return folders


def make_floor(floor: Floor, laboratory: Laboratory) -> Path:
    """``diffwave baseline``; returns the folder.

    Raises:
        VariantError: if it fails.
    """
    folder = laboratory.runs / "floors" / floor.name
    command = ["baseline", "--reference", str(laboratory.reference), "--system", floor.system]
    _speak([*command, "--iterations", str(floor.iterations)], folder)
    return folder


def _speak(command: list[str], folder: Path) -> None:
    """Run a command of diffwave into a fresh folder."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "diffwave", *command, "--output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        line = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise VariantError(f"diffwave {command[3]}: exit code {done.returncode}; {line}")


def score(folders: dict[str, Path], laboratory: Laboratory) -> dict[str, dict[str, dict[str, Any]]]:
    """Scores by system and utterance, in supervised workers: ``{"speaker", "scores", "errors"}``.

    Args:
        folders: of audio, by system.
        laboratory: for the recordings.
    """
    systems = match(laboratory.reference, folders)
    names, _ = metric_names()
    settings = RunSettings(tuple(choose(names)), workers=laboratory.threads)
    report = next(iter(folders.values())).parent / "scores"
    report.mkdir(parents=True, exist_ok=True)
    journal = RowJournal(report, {"metrics": names})
    try:
        journal.begin()
        run(systems, settings, journal, progress=lambda: None)
        outcomes = dict(journal.rows())
    finally:
        journal.close()
    return {
        system.name: {
            pair.utterance: {
                "speaker": pair.speaker,
                "scores": outcomes[pair.system, pair.utterance].scores,
                "errors": _errors(outcomes[pair.system, pair.utterance]),
            }
            for pair in system.pairs
        }
        for system in systems
    }


def _errors(outcome: Any) -> dict[str, str]:
    return {**outcome.errors, **({"all": outcome.error} if outcome.error else {})}
