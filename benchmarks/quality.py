"""Score a checkpoint on held-out LibriSpeech, beside floors that use no network, and write the results page.

    python benchmarks/quality.py --data data/LibriSpeech [--split val] [--checkpoint default]

Runs the commands that a user would: ``diffwave synthesize`` and ``diffwave baseline`` for every system, then ``diffwave
evaluate`` for all of them. Writes ``docs/results-SPLIT.json`` (the evaluation's summary), ``docs/results-SPLIT.csv``
(every utterance) and ``docs/results-SPLIT.md``; for the ``val`` split also the table in the README. The report with
players and spectrograms stays in ``outputs/quality-SPLIT/report``.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffwave.cli.main import main as diffwave
from diffwave.evaluation.metrics import METRICS
from diffwave.files import write_text
from diffwave.vocoder import Vocoder
from machine import environment

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ("pesq_wb", "stoi", "estoi", "mr_stft", "log_mel", "synchrony", "level", "real_time_factor")
SIGNED = ("synchrony", "level")
DEFAULT, FLOOR = "default", "60 from noise"


@dataclass(frozen=True)
class System:
    """A system of the table.

    Args:
        name: in the report.
        label: in the table.
        command: of diffwave, without inputs and outputs.
    """

    name: str
    label: str
    command: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Name of the folder of its outputs."""
        return re.sub(r"\W+", "-", self.name)


def systems(vocoder: Vocoder, checkpoint: str) -> list[System]:
    """The checkpoint at several settings, then the floors."""
    own = vocoder.config.sampling

    def model(steps: int, consistency: int) -> System:
        default = (steps, "ddim", consistency) == (own.steps, own.sampler, own.consistency_iterations)
        name = f"{steps} steps + {consistency}" if consistency else f"{steps} steps, network alone"
        label = f"{steps} steps, ddim, " + (f"{consistency} consistency iterations" if consistency else "network alone")
        settings = ("--steps", str(steps), "--sampler", "ddim", "--consistency", str(consistency))
        command = ("synthesize", "--checkpoint", checkpoint, *settings)
        return System(DEFAULT, f"**default: {label}**", command) if default else System(name, label, command)

    def floor(kind: str, iterations: int, name: str, label: str) -> System:
        command = ("baseline", "--system", kind, "--iterations", str(iterations))
        return System(name, f"no network: {label}", command)

    return [
        *(model(*setting) for setting in ((6, 0), (12, 0), (6, 20), (6, 60))),
        floor("griffin-lim", 60, "Griffin-Lim", "Griffin-Lim, 60 iterations (librosa)"),
        floor("mel-consistency", 20, "20 from noise", "20 consistency iterations from noise"),
        floor("mel-consistency", 60, FLOOR, "60 consistency iterations from noise"),
    ]


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


def table(results: dict[str, Any]) -> str:
    """The results as a Markdown table."""
    header = ["system", *(METRICS[name].label for name in COLUMNS)]
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    for system in results["systems"]:
        cells = [results["labels"][system["name"]], *(_cell(name, system["scores"][name]) for name in COLUMNS)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(name: str, score: dict[str, Any]) -> str:
    digits = METRICS[name].decimals
    if name == "real_time_factor":
        return f"{score['median']:.{digits}f}"
    sign = "+" if name in SIGNED else ""
    return f"{score['mean']:{sign}.{digits}f} ± {(score['high'] - score['low']) / 2:.{digits}f}"


def page(results: dict[str, Any]) -> str:
    """The results page."""
    where, story, split = results["environment"], results["training"], results["split"]
    first = results["systems"][0]
    return "\n".join(
        [
            f"# Results on the {split} split",
            "",
            f"Generated by `{results['command']}`, which runs `diffwave synthesize`, `diffwave baseline` and `diffwave "
            f"evaluate`; the scores of every utterance are in [results-{split}.csv](results-{split}.csv), the summary "
            f"with paired comparisons in [results-{split}.json](results-{split}.json).",
            "",
            f"{first['rows']} utterances of {first['speakers']} LibriSpeech speakers, none of whom is in the training "
            "data. Every system gets the same mel of the same recording. Mean ± half of the 95 % bootstrap interval "
            "over speakers; the real-time factor is the median over utterances.",
            "",
            table(results),
            "",
            "PESQ hardly hears phase, and mel distances do not at all: iterating towards the mel without any network "
            "scores high at them. Band synchrony is how much less the envelopes of neighbouring bands move together "
            "than in the recording: 0 is as in speech "
            "([what it hears and what not](benchmarks/columns.md)). A network has to earn its place above the floor's "
            "rows, and in what PESQ does not hear.",
            "",
            *_against_floor(results),
            f"Checkpoint: {story.get('iterations')} iterations of {story.get('batch_size')} crops of "
            f"{story.get('crop_seconds')} s, {story.get('seconds', 0) / 60:.0f} minutes on {story.get('device')}.",
            "",
            f"Measured on {where['processor']}, {where['threads']} threads, Python {where['python']}, "
            f"torch {where['torch']}, device {where['device']}.",
            "",
        ]
    )


def _against_floor(results: dict[str, Any]) -> list[str]:
    """Paired differences of the default from as many consistency iterations from noise."""
    rows = [row for row in results["comparisons"] if (row["a"], row["b"]) == (DEFAULT, FLOOR)]
    if not rows:
        return []
    lines = [
        "What the network adds to 60 consistency iterations, paired by utterance (for band synchrony and level, of "
        "absolute values):",
        "",
        "| metric | default − 60 iterations from noise | 95 % interval | utterances won | p (Wilcoxon, Holm) |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        digits = METRICS[row["metric"]].decimals
        interval = f"[{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"
        won = f"{row['a_better']} of {row['n']}"
        p = "< .001" if row["p_holm"] < 0.001 else f"{row['p_holm']:.3f}"
        label = METRICS[row["metric"]].label
        lines.append(f"| {label} | {row['difference']:+.{digits}f} | {interval} | {won} | {p} |")
    return [*lines, ""]


def training_table(vocoder: Vocoder) -> str:
    """How the checkpoint was trained, as a Markdown table."""
    story = vocoder.training_story
    parameters = sum(parameter.numel() for parameter in vocoder.network.parameters())
    hours = story["iterations"] * story["batch_size"] * story["crop_seconds"] / 3600
    on_cpu = f"{story['seconds'] / 60:.0f} minutes on one CPU core, beside other work, pauses included"
    rows = {
        "parameters": f"{parameters:,}",
        "data": f"LibriSpeech train-clean-100, the {story['utterances']} utterances ({story['data_hours']} h) of "
        "[train.txt](recipes/librispeech/splits/train.txt)",
        "commands": "[in the recipe](recipes/librispeech/README.md#the-packaged-checkpoint); in several sittings",
        "iterations": f"{story['iterations']:,} of {story['batch_size']} crops of {story['crop_seconds']} s "
        f"({hours:.0f} hours of audio)",
        "time": on_cpu if story["device"] == "cpu" else f"{story['seconds'] / 60:.0f} minutes on one GPU",
        "weights": "exponential moving average, stored in float16",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items())])


def replace_block(text: str, name: str, content: str) -> str:
    """Replace what stands between the markers of a generated block."""
    begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
    before, rest = text.split(begin)
    return before + begin + "\n" + content + "\n" + end + rest.split(end)[1]


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
    chosen = systems(vocoder, options.checkpoint)
    work = ROOT / "outputs" / f"quality-{options.split}"
    reference = recordings(options.data, options.split, options.limit, work / "reference")
    for system in chosen:
        make(system, reference, work / system.folder, options.device)
    results = evaluate(reference, work, chosen, options.device) | {
        "split": options.split,
        "command": f"python benchmarks/quality.py --data data/LibriSpeech --split {options.split}",
        "labels": {system.name: system.label for system in chosen},
        "environment": environment() | {"threads": torch.get_num_threads(), "device": str(vocoder.device)},
        "training": vocoder.training_story,
        "training_table": training_table(vocoder),
    }
    print(table(results))
    if options.limit is None and options.checkpoint == "default":
        write_results(results, work / "report")


def evaluate(reference: Path, work: Path, chosen: list[System], device: str) -> dict[str, Any]:
    """Run ``diffwave evaluate`` on all systems; returns its summary, with paths that mean something elsewhere."""
    estimates = [argument for s in chosen for argument in ("--estimate", f"{s.name}={work / s.folder}")]
    report = work / "report"
    common = ["--reference", str(reference), "--report", str(report), "--device", device, "--force"]
    code = diffwave(["evaluate", *common, *estimates])
    if code:
        raise SystemExit(f"diffwave evaluate: exit code {code}")
    summary: dict[str, Any] = json.loads((report / "summary.json").read_text(encoding="utf-8"))
    for system in summary["systems"]:
        system["folder"] = system["name"]
    return summary | {"reference": reference.name}


def write_results(results: dict[str, Any], report: Path) -> None:
    """Write JSON, CSV, page, and for the val split the README's table and picture."""
    folder = ROOT / "docs"
    split = results["split"]
    write_text(folder / f"results-{split}.json", json.dumps(results, indent=1) + "\n")
    rows = (report / "utterances.csv").read_text(encoding="utf-8")
    write_text(folder / f"results-{split}.csv", rows.replace(f"{report.parent}/", ""))
    write_text(folder / f"results-{split}.md", page(results))
    if split == "val":
        shutil.copyfile(report / "scores.png", folder / "images" / "evaluation.png")
        readme = ROOT / "README.md"
        text = replace_block(readme.read_text(encoding="utf-8"), "results", table(results))
        write_text(readme, replace_block(text, "training", results["training_table"]))


if __name__ == "__main__":
    main()
