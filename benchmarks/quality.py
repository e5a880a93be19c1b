"""Score a checkpoint on held-out LibriSpeech, beside floors that use no network, and write the results page.

    python benchmarks/quality.py --data data/LibriSpeech [--split val] [--checkpoint default]

Runs the commands that a user would: ``diffwave synthesize`` and ``diffwave baseline`` for every system, then ``diffwave
evaluate`` for all of them, and once more for the pitch of some. Writes ``docs/results-SPLIT.json`` (the evaluation's
summary), ``docs/results-SPLIT.csv`` (every utterance) and ``docs/results-SPLIT.md``; for the ``val`` split also the
table in the README. The report with players and spectrograms stays in ``outputs/quality-SPLIT/report``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from diffwave.cli.main import main as diffwave
from diffwave.files import write_text
from diffwave.vocoder import Vocoder
from machine import environment
from quality_page import SHOWN, page, replace_block, table, training_table
from quality_systems import PITCHED, System, systems

ROOT = Path(__file__).resolve().parent.parent
METRICS = ("default", "bias_low", "bias_mid", "bias_high", "silence")
PITCH_METRICS = ("periodicity_pyin", "voicing_f1", "f0_rmse")


def recordings(data: Path, split: str, limit: int | None, folder: Path) -> Path:
    """The split's recordings in one folder."""
    names = (ROOT / "recipes/librispeech/splits" / f"{split}.txt").read_text(encoding="utf-8").split()[:limit]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in names:
        (folder / Path(name).name).symlink_to((data / name).resolve())
    return folder


def make(system: System, reference: Path, folder: Path, device: str) -> None:
    """Run a system's command on all recordings."""
    shutil.rmtree(folder, ignore_errors=True)
    inputs = (
        (str(reference), "--device", device) if system.command[0] == "synthesize" else ("--reference", str(reference))
    )
    code = diffwave([system.command[0], *inputs, "--output", str(folder), *system.command[1:]])
    if code:
        raise SystemExit(f"diffwave {' '.join(system.command)}: exit code {code}")


def main() -> None:
    """Synthesize, score, write, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="LibriSpeech root")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--checkpoint", default="default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--limit", type=int, default=None, help="only so many utterances (for a try)")
    options = parser.parse_args()
    vocoder = Vocoder.from_pretrained(options.checkpoint, options.device)
    chosen = systems(vocoder.config.sampling, options.checkpoint)
    work = ROOT / "outputs" / f"quality-{options.split}"
    reference = recordings(options.data, options.split, options.limit, work / "reference")
    for system in chosen:
        make(system, reference, work / system.folder, options.device)
    report, pitched = work / "report", [system for system in chosen if system.name in PITCHED]
    results = evaluate(reference, work, chosen, options.device, METRICS, report) | {
        "pitch": evaluate(reference, work, pitched, options.device, PITCH_METRICS, work / "pitch"),
        "commands": {system.name: system.line for system in chosen},
        "split": options.split,
        "command": f"python benchmarks/quality.py --data data/LibriSpeech --split {options.split}",
        "labels": {system.name: system.label for system in chosen},
        "environment": environment() | {"threads": torch.get_num_threads(), "device": str(vocoder.device)},
        "training": vocoder.training_story,
        "training_table": training_table(vocoder),
    }
    print(table(results))
    if options.limit is None and options.checkpoint == "default":
        shown = [system for system in chosen if system.name in SHOWN]
        evaluate(reference, work, shown, options.device, ("default",), work / "picture")
        write_results(results, report, work / "picture" / "scores.png")


def evaluate(
    reference: Path, work: Path, chosen: list[System], device: str, metrics: Sequence[str], report: Path
) -> dict[str, Any]:
    """Run ``diffwave evaluate``; returns its summary, with paths that mean something elsewhere."""
    estimates = [argument for s in chosen for argument in ("--estimate", f"{s.name}={work / s.folder}")]
    common = ["--reference", str(reference), "--report", str(report), "--device", device, "--force"]
    code = diffwave(["evaluate", *common, *estimates, "--metrics", ",".join(metrics), "--floor", "0"])
    if code:
        raise SystemExit(f"diffwave evaluate: exit code {code}")
    summary: dict[str, Any] = json.loads((report / "summary.json").read_text(encoding="utf-8"))
    for system in summary["systems"]:
        system["folder"] = system["name"]
    return summary | {"reference": reference.name}


def write_results(results: dict[str, Any], report: Path, picture: Path) -> None:
    """Write JSON, CSV, page, and for the val split the README's table and picture."""
    folder = ROOT / "docs"
    split = results["split"]
    write_text(folder / f"results-{split}.json", json.dumps(results, indent=1) + "\n")
    rows = (report / "utterances.csv").read_text(encoding="utf-8")
    write_text(folder / f"results-{split}.csv", rows.replace(f"{report.parent}/", ""))
    write_text(folder / f"results-{split}.md", page(results))
    if split == "val":
        shutil.copyfile(picture, folder / "images" / "evaluation.png")
        readme = ROOT / "README.md"
        text = replace_block(readme.read_text(encoding="utf-8"), "results", table(results, names=SHOWN))
        write_text(readme, replace_block(text, "training", results["training_table"]))


if __name__ == "__main__":
    main()
