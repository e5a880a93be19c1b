"""Folders of audio in, a report out: what is scored, beside which floor, and what a reader should know of it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffwave
from diffwave.config import MelConvention, mel_convention
from diffwave.devices import pick_device
from diffwave.errors import InputError, reason
from diffwave.evaluation.findings import collect
from diffwave.evaluation.floor import floor_mel, make_floors, other_mels, why_none
from diffwave.evaluation.metrics import Metric, choose
from diffwave.evaluation.pairs import SPEAKER, System, match
from diffwave.evaluation.results_folder import REPORT, SUMMARY, write
from diffwave.evaluation.row_journal import NAME, RowJournal
from diffwave.evaluation.run import RunSettings, run
from diffwave.evaluation.scoring import Loading
from diffwave.evaluation.workers import TIMEOUT
from diffwave.files import try_out
from diffwave.processes.cores import usable_cores


@dataclass(frozen=True)
class EvaluationSettings:
    """What to evaluate.

    Args:
        reference: folder of recordings.
        estimates: folder of each system's audio, by the system's name.
        report: folder for the results.
        metrics: names of metrics or of sets of them.
        workers: processes; 0 scores in this one, None is one for each core.
        device: of spectral metrics: ``auto``, ``cpu`` or ``cuda``.
        floor: utterances of the floor; 0 for none.
        mel: convention of the floor's mels; None for the one that the systems' records name.
        common: whether recordings that some system has no audio of are left out.
        resample: whether files of different sample rates are compared.
        speaker: pattern that finds the speaker in a file's name.
        timeout: seconds after which a metric is given up.
        resume: go on with an evaluation that was interrupted.
        force: begin anew in a folder that holds a report.
    """

    reference: Path
    estimates: Mapping[str, Path]
    report: Path
    metrics: tuple[str, ...] = ("default",)
    workers: int | None = None
    device: str = "auto"
    floor: int = 100
    mel: MelConvention | None = None
    common: bool = False
    resample: bool = False
    speaker: str = SPEAKER
    timeout: float = TIMEOUT
    resume: bool = False
    force: bool = False


@dataclass(frozen=True)
class Evaluation:
    """What came of it.

    Args:
        metrics: that were asked for.
        summary: as in ``summary.json``.
        remarks: what a reader should know, a line each.
        page: the report.
    """

    metrics: list[Metric]
    summary: dict[str, Any]
    remarks: list[str]
    page: Path

    @property
    def complete(self) -> bool:
        """Whether every row of the systems is scored."""
        return all(system["floor"] or system["status"]["ok"] == system["rows"] for system in self.summary["systems"])


def evaluate(settings: EvaluationSettings) -> Evaluation:
    """Score every file, make the floor, and write the report; a bar on stderr tells how far it is.

    Raises:
        EvaluationError: if what was asked for cannot be evaluated.
        InputError: if the folder of the report cannot be used.
    """
    if settings.resume and settings.force:
        raise InputError("expected --resume or --force; got both")
    metrics = choose(settings.metrics)
    reference, report = settings.reference, settings.report
    systems = match(reference, dict(settings.estimates), settings.speaker, settings.common, skip=report)
    how = _run_settings(settings, metrics)
    _open_report(settings)
    mel = settings.mel or mel_convention(floor_mel(systems))
    floors = make_floors(systems, reference, report, settings.floor, settings.speaker, mel)
    systems += floors
    remarks = other_mels(systems)
    no_floor = why_none(systems, settings.floor)
    if settings.mel and not floors:
        remarks.append(f"--mel: of no effect, for no floor was made; {no_floor}")
    journal = RowJournal(report, _request(reference, systems, how))
    try:
        if settings.resume:
            journal.resume()
        else:
            journal.begin()
        _run_with_progress(systems, how, journal)
        results = collect(systems, metrics, dict(journal.rows()))
        summary = write(report, results, reference, how.loading, how.device, no_floor)
    except OSError as error:
        raise InputError(f"--report {report}: cannot be written; {reason(error)}") from None
    finally:
        journal.close()
    return Evaluation(metrics, summary, [*remarks, *_remarks(summary)], report / REPORT)


def _run_settings(settings: EvaluationSettings, metrics: list[Metric]) -> RunSettings:
    workers = usable_cores() if settings.workers is None else settings.workers
    device = str(pick_device(settings.device))
    return RunSettings(tuple(metrics), workers, device, Loading(resample=settings.resample), settings.timeout)


def _open_report(settings: EvaluationSettings) -> None:
    """Make the folder; a report that is there is only replaced when asked for."""
    folder = settings.report
    there = any((folder / name).exists() for name in (NAME, SUMMARY, REPORT))
    if there and not (settings.resume or settings.force):
        raise InputError(
            f"--report {folder}: expected a folder without a report; --resume goes on with it, --force begins anew"
        )
    try_out(folder, "--report")
    if settings.force:
        # A floor of other recordings would be taken for this one's.
        shutil.rmtree(folder / "floor", ignore_errors=True)


def _request(reference: Path, systems: list[System], settings: RunSettings) -> dict[str, Any]:
    """What the rows depend on."""
    return {
        "diffwave": diffwave.__version__,
        "reference": str(reference.resolve()),
        "systems": {system.name: str(system.folder.resolve()) for system in systems},
        "metrics": [metric.name for metric in settings.metrics],
        "device": settings.device,
        "resample": settings.loading.resample,
        "timeout": settings.timeout,
    }


def _run_with_progress(systems: list[System], settings: RunSettings, journal: RowJournal) -> None:
    from tqdm import tqdm

    total = sum(len(system.pairs) for system in systems)
    done = sum(1 for _ in journal.rows())
    with tqdm(total=total, initial=done, unit="row", disable=None, dynamic_ncols=True, file=sys.stderr) as progress:
        run(systems, settings, journal, progress.update)


def _remarks(summary: dict[str, Any]) -> list[str]:
    """Rows that are not scored, speakers and floors that are not known, floors that are not beaten."""
    lines = []
    for system in summary["systems"]:
        counts = ", ".join(f"{n} {status}" for status, n in system["status"].items() if n and status != "ok")
        if counts:
            lines.append(f"{system['name']}: {counts}; see utterances.csv")
        if system["unmatched"]:
            some = system["unmatched"]
            lines.append(f"{system['name']}: no reference for {len(some)} of its files, such as {some[0]}")
    if not any(system["speakers_known"] for system in summary["systems"]):
        lines.append(
            "speakers are not known from the names, so each utterance counts for itself (--speaker tells them)"
        )
    if not summary["floor"]["systems"]:
        lines.append(f"no floor: {summary['floor']['reason']}")
    beaten: dict[tuple[str, str], list[str]] = {}
    for verdict in summary["floor"]["verdicts"]:
        if not verdict["beats"]:
            label = summary["metrics"][verdict["metric"]]["label"]
            beaten.setdefault((verdict["system"], verdict["floor"]), []).append(label)
    lines += [f"{system} does not beat {floor} at {'; '.join(names)}" for (system, floor), names in beaten.items()]
    return lines
