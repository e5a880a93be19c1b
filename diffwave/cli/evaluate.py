"""``diffwave evaluate``: score folders of audio against recordings, beside the floor that needs no network."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffwave.cli.vocoder_arguments import add_mel
from diffwave.errors import InputError, one_line
from diffwave.terminal.arguments import CommandParser, count_argument, device_argument, path_argument, seconds_argument
from diffwave.terminal.tables import table

if TYPE_CHECKING:
    from diffwave.evaluation.evaluate import Evaluation
    from diffwave.evaluation.metrics import Metric


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    from diffwave.evaluation.evaluate import EvaluationSettings as Own

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
    floor = f"utterances of the floor (default: {Own.floor}); 0: none"
    add("--floor", type=count_argument, default=Own.floor, metavar="N", help=floor)
    mels = "convention of the floor's mels (default: the one that the systems' records name, or else default)"
    add_mel(result, mels)
    add("--common", action="store_true", help="leave out recordings that some system has no audio of")
    add("--resample", action="store_true", help="compare files of different sample rates, at 16 kHz")
    add(
        "--speaker",
        default=Own.speaker,
        metavar="REGEX",
        help="finds the speaker in a file's name (default: LibriSpeech, VCTK)",
    )
    patience = f"give a metric up after so long (default: {Own.timeout:g})"
    add("--timeout", type=seconds_argument, default=Own.timeout, metavar="S", help=patience)
    add("--resume", action="store_true", help="go on with an evaluation that was interrupted")
    add("--force", action="store_true", help="begin anew in a folder that holds a report")
    add("--json", action="store_true", help="print the summary as JSON")
    return result


def main(arguments: list[str]) -> int:
    """Score, write the report, print a table; 0 if every row is ok, 1 if not."""
    options = vars(parser().parse_args(arguments))
    from diffwave.evaluation.evaluate import EvaluationSettings, evaluate

    as_json, estimates, metrics = options.pop("json"), _by_name(options.pop("estimate")), options.pop("metrics")
    names = tuple(name.strip() for name in metrics.split(",") if name.strip())
    done = evaluate(EvaluationSettings(estimates=estimates, metrics=names, **options))
    print(json.dumps(done.summary, indent=1) if as_json else _table(done))
    for line in [*done.remarks, str(done.page)]:
        print(f"diffwave evaluate: {one_line(line)}", file=sys.stderr)
    return 0 if done.complete else 1


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


def _table(done: Evaluation) -> str:
    """A row for each system, a column for each metric that some system has a score of."""
    systems = done.summary["systems"]
    shown = [metric for metric in done.metrics if any(system["scores"][metric.name]["n"] for system in systems)]
    rows = [_cells(system, shown) for system in systems]
    return table(["system", *(metric.label for metric in shown), "ok"], rows)


def _cells(system: dict[str, Any], metrics: list[Metric]) -> list[str]:
    from diffwave.evaluation.metrics import RECORD

    cells = [one_line(system["name"])]
    for metric in metrics:
        score = system["scores"][metric.name]
        value = score["median" if metric.kind == RECORD else "mean"]
        cells.append("" if value is None else f"{value:.{metric.decimals}f}")
    return [*cells, f"{system['status']['ok']} of {system['rows']}"]
