"""``diffwave evaluate``: score folders of audio against recordings, beside the floor that needs no network."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffwave.errors import InputError, one_line, reason
from diffwave.evaluation.floor import floor_mel, make_floors, other_mels, why_none
from diffwave.terminal.arguments import CommandParser, count_argument, device_argument, path_argument, seconds_argument
from diffwave.terminal.tables import table

if TYPE_CHECKING:
    from diffwave.evaluation.metrics import Metric
    from diffwave.evaluation.pairs import System
    from diffwave.evaluation.run import RunSettings


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    from diffwave.config import MEL_PRESETS
    from diffwave.evaluation.pairs import SPEAKER
    from diffwave.evaluation.workers import TIMEOUT

    result = CommandParser(
        prog="diffwave evaluate",
        description=__doc__,
        epilog="Exit code: 0 if every row is scored, 1 if some are not, 2 if nothing could be done.",
    )
    add = result.add_argument
    add("--reference", type=path_argument, required=True, metavar="DIR", help="folder of recordings")
    estimate = "folder of a system's audio, named as the recordings are; once for each system"
    add(
        "--estimate", type=_named_folder, required=True, action="extend", nargs="+", metavar="[NAME=]DIR", help=estimate
    )
    files = "folder for utterances.csv, summary.json and report.html"
    add("--report", type=path_argument, required=True, metavar="DIR", help=files)
    metrics = "default, full, or names separated by commas, plug-ins among them (default: default)"
    add("--metrics", default="default", metavar="LIST", help=metrics)
    add("--workers", type=count_argument, metavar="N", help="processes (default: one per core); 0 scores in this one")
    add("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="of spectral metrics")
    add(
        "--floor", type=count_argument, default=100, metavar="N", help="utterances of the floor (default: 100); 0: none"
    )
    mels = "convention of the floor's mels (default: the one that the systems' records name, or else default)"
    add("--mel", choices=sorted(MEL_PRESETS), help=mels)
    add("--common", action="store_true", help="leave out recordings that some system has no audio of")
    add("--resample", action="store_true", help="compare files of different sample rates, at 16 kHz")
    add(
        "--speaker",
        default=SPEAKER,
        metavar="REGEX",
        help="finds the speaker in a file's name (default: LibriSpeech, VCTK)",
    )
    patience = f"give a metric up after so long (default: {TIMEOUT:g})"
    add("--timeout", type=seconds_argument, default=TIMEOUT, metavar="S", help=patience)
    add("--resume", action="store_true", help="go on with an evaluation that was interrupted")
    add("--force", action="store_true", help="begin anew in a folder that holds a report")
    add("--json", action="store_true", help="print the summary as JSON")
    return result


def main(arguments: list[str]) -> int:
    """Score, write the report, print a table; 0 if every row is ok, 1 if not."""
    options = parser().parse_args(arguments)
    if options.resume and options.force:
        raise InputError("expected --resume or --force; got both")

    from diffwave.evaluation.findings import collect
    from diffwave.evaluation.metrics import choose
    from diffwave.evaluation.pairs import match
    from diffwave.evaluation.results_folder import REPORT, write
    from diffwave.evaluation.row_journal import RowJournal
    from diffwave.evaluation.run import run

    metrics = choose(name.strip() for name in options.metrics.split(",") if name.strip())
    folders = _by_name(options.estimate)
    systems = match(options.reference, folders, options.speaker, options.common, skip=options.report)
    settings = _settings(options, metrics)
    _open_report(options)
    mel = options.mel or floor_mel(systems)
    floors = make_floors(systems, options.reference, options.report, options.floor, options.speaker, mel)
    systems += floors
    remarks = other_mels(systems)
    if options.mel and not floors:
        remarks.append(f"--mel: of no effect, for no floor was made; {why_none(systems, options.floor)}")
    journal = RowJournal(options.report, _request(options, systems, metrics, settings))
    try:
        if options.resume:
            journal.resume()
        else:
            journal.begin()
        _run_with_progress(run, systems, settings, journal)
        results = collect(systems, metrics, dict(journal.rows()))
        no_floor = why_none(systems, options.floor)
        summary = write(options.report, results, options.reference, settings.loading, settings.device, no_floor)
    except OSError as error:
        raise InputError(f"--report {options.report}: cannot be written; {reason(error)}") from None
    finally:
        journal.close()
    _show(summary, metrics, options, options.report / REPORT, remarks)
    bad = sum(s["rows"] - s["status"]["ok"] for s in summary["systems"] if not s["floor"])
    return 1 if bad else 0


def _named_folder(text: str) -> tuple[str, Path]:
    """``NAME=DIR``, or a folder whose own name is the system's."""
    name, equals, folder = text.partition("=")
    # A folder may have "=" in its path; a name has no separator in it.
    if not equals or os.sep in name or Path(text).is_dir():
        path = path_argument(text)
        return path.resolve().name, path
    if not name.strip():
        raise argparse.ArgumentTypeError(f"expected NAME=DIR; got {text!r}")
    return name, path_argument(folder)


def _by_name(estimates: list[tuple[str, Path]]) -> dict[str, Path]:

    folders: dict[str, Path] = {}
    for name, folder in estimates:
        if name in folders:
            raise InputError(
                f"--estimate: expected a name for each system; {name!r} is there twice (NAME=DIR names it)"
            )
        folders[name] = folder
    return folders


def _settings(options: argparse.Namespace, metrics: list[Metric]) -> RunSettings:
    from diffwave.devices import pick_device
    from diffwave.evaluation.run import RunSettings
    from diffwave.evaluation.scoring import Loading

    # Not every system tells which cores a process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = cores if options.workers is None else options.workers
    device = str(pick_device(options.device))
    return RunSettings(tuple(metrics), workers, device, Loading(resample=options.resample), options.timeout)


def _open_report(options: argparse.Namespace) -> None:
    """Make the folder; a report that is there is only replaced when asked for."""
    from diffwave.evaluation.results_folder import REPORT, SUMMARY
    from diffwave.evaluation.row_journal import NAME

    there = any((options.report / name).exists() for name in (NAME, SUMMARY, REPORT))
    if there and not (options.resume or options.force):
        raise InputError(
            f"--report {options.report}: expected a folder without a report; --resume goes on with it, --force begins "
            "anew"
        )
    try:
        options.report.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=options.report).close()
        if options.force:
            # A floor of other recordings would be taken for this one's.
            shutil.rmtree(options.report / "floor", ignore_errors=True)
    except OSError as error:
        raise InputError(f"--report {options.report}: expected a folder that can be written; {reason(error)}") from None


def _request(
    options: argparse.Namespace, systems: list[System], metrics: list[Metric], settings: RunSettings
) -> dict[str, Any]:
    """What the rows depend on."""
    import diffwave

    return {
        "diffwave": diffwave.__version__,
        "reference": str(options.reference.resolve()),
        "systems": {system.name: str(system.folder.resolve()) for system in systems},
        "metrics": [metric.name for metric in metrics],
        "device": settings.device,
        "resample": settings.loading.resample,
        "timeout": settings.timeout,
    }


def _run_with_progress(run: Any, systems: list[System], settings: RunSettings, journal: Any) -> None:
    from tqdm import tqdm

    total = sum(len(system.pairs) for system in systems)
    done = sum(1 for _ in journal.rows())
    with tqdm(total=total, initial=done, unit="row", disable=None, dynamic_ncols=True, file=sys.stderr) as progress:
        run(systems, settings, journal, progress.update)


def _show(
    summary: dict[str, Any], metrics: list[Metric], options: argparse.Namespace, report: Path, remarks: list[str]
) -> None:
    """Table or JSON on stdout; what the user should know of on stderr."""
    if options.json:
        print(json.dumps(summary, indent=1))
    else:
        shown = [metric for metric in metrics if any(s["scores"][metric.name]["n"] for s in summary["systems"])]
        rows = [_cells(system, shown) for system in summary["systems"]]
        print(table(["system", *(metric.label for metric in shown), "ok"], rows))
    for line in [*remarks, *_remarks(summary)]:
        print(f"diffwave evaluate: {one_line(line)}", file=sys.stderr)
    print(f"diffwave evaluate: {one_line(str(report))}", file=sys.stderr)


def _cells(system: dict[str, Any], metrics: list[Metric]) -> list[str]:
    from diffwave.evaluation.metrics import RECORD

    cells = [one_line(system["name"])]
    for metric in metrics:
        score = system["scores"][metric.name]
        value = score["median" if metric.kind == RECORD else "mean"]
        cells.append("" if value is None else f"{value:.{metric.decimals}f}")
    return [*cells, f"{system['status']['ok']} of {system['rows']}"]


def _remarks(summary: dict[str, Any]) -> list[str]:
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
