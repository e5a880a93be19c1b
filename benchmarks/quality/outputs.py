"""Outputs of the systems of a results page, made once (what is complete and made alike is kept), and their scores."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.quality.systems import DEFAULT, System
from benchmarks.report import environment, read, run_diffwave, split_names
from diffwave.checkpoint.folder import CONFIG_NAME, WEIGHTS_NAME, checkpoint_folder
from diffwave.checkpoint.provenance import commit
from diffwave.devices import pick_device
from diffwave.evaluation.pairs import audio_files
from diffwave.files import write_text

# Beside the outputs: what they were made with, written when they are complete.
RECORD = "made.json"


@dataclass(frozen=True)
class Work:
    """A system and the recordings that it has to speak.

    Args:
        system: what to run.
        reference: folder of the recordings.
        output: folder of its outputs.
        device: for the network.
    """

    system: System
    reference: Path
    output: Path
    device: str

    def request(self) -> dict[str, Any]:
        """All that the outputs depend on, apart from the code."""
        command = self.system.command
        checkpoint = ""
        if "--checkpoint" in command:
            folder = checkpoint_folder(command[command.index("--checkpoint") + 1])
            checkpoint = digest([folder / CONFIG_NAME, folder / WEIGHTS_NAME])
        recordings = audio_files(self.reference, "--reference")
        return {
            "command": list(command),
            "checkpoint": checkpoint,
            "recordings": digest(recordings.values()),
            "device": str(pick_device(self.device)) if checkpoint else "cpu",
        }

    def is_done(self) -> bool:
        """Whether the outputs are complete and were made from the same things in the same way."""
        keys = audio_files(self.reference, "--reference")
        complete = all((self.output / f"{key}.wav").is_file() for key in keys)
        return complete and self.record().get("request") == self.request()

    def record(self) -> dict[str, Any]:
        """What the outputs were made with; empty if that is not known."""
        return read(self.output / RECORD)

    def make(self) -> None:
        """Run the system's command on all recordings, replacing earlier outputs.

        Raises:
            SystemExit: if the command fails.
        """
        shutil.rmtree(self.output, ignore_errors=True)
        kind, *settings = self.system.command
        given = [str(self.reference)] if kind == "synthesize" else ["--reference", str(self.reference)]
        device = ["--device", self.device] if kind == "synthesize" else []
        code = run_diffwave(kind, *given, *device, "--output", self.output, *settings)
        if code:
            raise SystemExit(f"diffwave {' '.join(self.system.command)}: exit code {code}")
        request = self.request()
        where = environment() | {"threads": torch.get_num_threads(), "device": request["device"]}
        record = {"request": request, "environment": where, "commit": commit()}
        write_text(self.output / RECORD, json.dumps(record, indent=1) + "\n")


def make_all(works: Iterable[Work], resume: bool) -> None:
    """Make every system's outputs; with ``resume`` those that are done are kept, and told on stderr."""
    for work in works:
        if not (resume and work.is_done()):
            work.make()
            continue
        made = work.record()["commit"]
        other = "" if made == commit() else f"; made by other code ({made or 'unknown'}), begin anew without --resume"
        print(f"kept: {work.system.name} ({work.output.name}){other}", file=sys.stderr)


def digest(paths: Iterable[Path]) -> str:
    """One SHA-256 of the names and contents of files, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        total.update(f"{path.name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def recordings(data: Path, split: str, limit: int | None, folder: Path) -> Path:
    """The split's recordings in one folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in split_names(split, limit):
        (folder / Path(name).name).symlink_to((data / name).resolve())
    return folder


def evaluate(works: Sequence[Work], metrics: Sequence[str], report: Path, device: str) -> dict[str, Any]:
    """Run ``diffwave evaluate`` on the outputs of some systems for the same recordings; returns its summary.

    Of the paired comparisons only the default's are kept: every two of a dozen systems would be most of the file.

    Raises:
        SystemExit: if there is no report; one with empty cells is a report.
    """
    reference = works[0].reference
    estimates = [argument for work in works for argument in ("--estimate", f"{work.system.name}={work.output}")]
    common = ["--reference", str(reference), "--report", str(report), "--device", device, "--force"]
    code = run_diffwave("evaluate", *common, *estimates, "--metrics", ",".join(metrics), "--floor", "0")
    if code not in (0, 1):
        raise SystemExit(f"diffwave evaluate: exit code {code}")
    summary: dict[str, Any] = json.loads((report / "summary.json").read_text(encoding="utf-8"))
    for system in summary["systems"]:
        system["folder"] = system["name"]
    compared = [row for row in summary["comparisons"] if row["a"] == DEFAULT]
    return summary | {"reference": reference.name, "comparisons": compared}


def utterance_scores(report: Path, metrics: Iterable[str]) -> list[dict[str, Any]]:
    """Every row of a report: system, utterance and scores, None where there is none."""
    with (report / "utterances.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = list(metrics)
    return [
        {"system": row["system"], "utterance": row["utterance"]}
        | {name: float(row[name]) if row[name] else None for name in names}
        for row in rows
    ]
