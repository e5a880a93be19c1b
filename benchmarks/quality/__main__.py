"""Score a checkpoint on held-out LibriSpeech, beside floors that use no network, and write the results page.

    python -m benchmarks.quality --data data/LibriSpeech [--split val] [--checkpoint default]
    python -m benchmarks.quality --data data/LibriSpeech --split test --other data/other

Runs the commands that a user would: ``diffwave synthesize`` and ``diffwave baseline`` for every system, then ``diffwave
evaluate`` for all of them, and once more for the pitch of some. All outputs are made before the first is scored, so
that nothing else runs while they are timed. ``--other`` names a folder of other corpora, a folder for each.

Writes ``docs/results-SPLIT.md``, ``.json`` (the evaluation's summary) and ``.csv`` (every utterance), for the ``test``
split ``docs/results.*`` and the table in the README; for another packaged checkpoint ``docs/results-NAME*.*``. With
``--limit`` or a checkpoint of one's own the page goes to ``outputs/`` instead, where the report with players and
spectrograms lies too. After an interruption ``--resume`` keeps what is complete and was made by the same command,
checkpoint and recordings.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality import other
from benchmarks.quality.goals import best_floor
from benchmarks.quality.outputs import Work, evaluate, make_all, recordings
from benchmarks.quality.page import FINAL, SHOWN, page, stem
from benchmarks.quality.readme import write_readme
from benchmarks.quality.systems import DEFAULT, systems
from benchmarks.quality.tables import table
from benchmarks.report import ROOT
from diffwave.checkpoint.folder import packaged_checkpoints
from diffwave.files import write_text
from diffwave.vocoder import Vocoder

METRICS = ("default", "bias_low", "bias_mid", "bias_high", "silence")
# Pitch takes seconds for each output: it is measured of the default and of the best floor.
PITCH_METRICS = ("periodicity_pyin", "voicing_f1", "f0_rmse")


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = result.add_argument
    add("--data", type=Path, required=True, help="LibriSpeech root")
    add("--split", choices=("val", FINAL), default="val")
    add("--other", type=Path, help="folder of other corpora, each a folder of audio of any sample rate")
    add("--checkpoint", default="default")
    add("--device", default="auto")
    add("--limit", type=int, default=None, help="only so many utterances of each corpus (for a try)")
    add("--resume", action="store_true", help="keep outputs that are complete and made in the same way")
    add("--only", choices=("synthesize",), help="make all outputs and end; --resume goes on with their scores")
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Synthesize, score, write, and print the table."""
    options = parser().parse_args(arguments)
    vocoder = Vocoder.from_pretrained(options.checkpoint, options.device)
    try:
        chosen = systems(vocoder.config, options.checkpoint, options.split)
    except ValueError as error:
        raise SystemExit(f"--checkpoint {options.checkpoint}: {error}") from None
    packaged = options.checkpoint in packaged_checkpoints()
    name = [] if options.checkpoint == "default" else [options.checkpoint if packaged else "other"]
    limit = [str(options.limit)] if options.limit else []
    work = ROOT / "outputs" / "-".join(["quality", *name, options.split, *limit])
    reference = recordings(options.data, options.split, options.limit, work / "reference")
    works = [Work(system, reference, work / system.folder, options.device) for system in chosen]
    # Apart from the systems' folders, whose names a corpus may have.
    elsewhere, rate = work / "other-corpora", vocoder.sample_rate
    corpora = other.prepare(options.other, elsewhere, rate, options.limit) if options.other else []
    make_all([*works, *other.works(corpora, chosen, options.device)], options.resume)
    if options.only == "synthesize":
        return
    report = work / "report"
    results = evaluate(works, METRICS, report, options.device)
    pitched = [each for each in works if each.system.name in (DEFAULT, best_floor(results))]
    results |= {
        "pitch": evaluate(pitched, PITCH_METRICS, work / "pitch", options.device),
        "other": other.score(corpora, chosen, options.device),
        "environments": {each.system.name: each.record()["environment"] for each in works},
        **_about(options, vocoder, works),
    }
    print(table(results))
    whole = options.limit is None and packaged
    if whole and options.split == FINAL and options.checkpoint == "default":
        shown = [each for each in works if each.system.name in SHOWN]
        evaluate(shown, ("default",), work / "picture", options.device)
        shutil.copyfile(work / "picture" / "scores.png", ROOT / "docs" / "images" / "evaluation.png")
    write_results(results, report, ROOT / "docs" if whole else work)
    if whole and options.split == FINAL:
        write_readme()


def _about(options: argparse.Namespace, vocoder: Vocoder, works: Sequence[Work]) -> dict[str, Any]:
    """What the page says beside the scores."""
    others = " --other data/other" if options.other else ""
    which = "" if options.checkpoint == "default" else f" --checkpoint {options.checkpoint}"
    return {
        "commands": {work.system.name: work.system.line for work in works},
        "labels": {work.system.name: work.system.label for work in works},
        "split": options.split,
        "checkpoint": options.checkpoint,
        "mel": vocoder.config.mel.describe(),
        "command": f"python -m benchmarks.quality --data data/LibriSpeech --split {options.split}{others}{which}",
        "training": vocoder.training_story,
    }


def write_results(results: dict[str, Any], report: Path, folder: Path) -> None:
    """Write the page, its figures, and the scores of every utterance."""
    name = stem(results)
    write_text(folder / f"{name}.json", json.dumps(results, indent=1) + "\n")
    rows = (report / "utterances.csv").read_text(encoding="utf-8")
    write_text(folder / f"{name}.csv", rows.replace(f"{report.parent}/", ""))
    write_text(folder / f"{name}.md", page(results))


if __name__ == "__main__":
    main()
