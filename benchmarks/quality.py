"""Score a checkpoint on held-out LibriSpeech, beside floors that use no network, and write the results page.

    python benchmarks/quality.py --data data/LibriSpeech [--split val] [--checkpoint default]

Writes ``docs/results-SPLIT.json`` (every utterance's scores) and ``docs/results-SPLIT.md``; for the ``val`` split also
the table in the README. Every system starts from the same mel of the same recording. Intervals are 95 % bootstrap
intervals of the mean, resampled by speaker. Times are of this process on this machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffwave.audio import read_audio
from diffwave.baseline import griffin_lim, mel_consistency
from diffwave.evaluation import metrics
from diffwave.files import write_text
from diffwave.vocoder import Vocoder
from machine import environment

ROOT = Path(__file__).resolve().parent.parent
SCORES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "PESQ-WB": metrics.pesq_wb,
    "STOI": metrics.stoi,
    "ESTOI": lambda reference, estimate: metrics.stoi(reference, estimate, extended=True),
    "log-mel distance": metrics.log_mel_distance,
    "level": metrics.level_difference,
}
DIGITS = {"PESQ-WB": 2, "STOI": 3, "ESTOI": 3, "log-mel distance": 3, "level": 2, "real-time factor": 3}
_BOOTSTRAP = 2000


@dataclass(frozen=True)
class System:
    """One way from a mel ``[M, F]`` to a waveform ``[N]``."""

    name: str
    synthesize: Callable[[Tensor], Tensor]


def systems(vocoder: Vocoder) -> list[System]:
    """The checkpoint at several settings, then the floors."""
    own = vocoder.config.sampling.consistency_iterations

    def model(steps: int, sampler: str, consistency: int) -> System:
        chosen = (steps, sampler, consistency) == (vocoder.config.sampling.steps, vocoder.config.sampling.sampler, own)
        name = f"**default: {steps} steps, {sampler}" if chosen else f"{steps} steps, {sampler}"
        name += f", {consistency} consistency iterations" if consistency else ", network alone"
        return System(
            name + ("**" if chosen else ""),
            lambda mel: vocoder.synthesize(mel, steps, sampler, consistency=consistency),
        )

    settings = [(6, "ddim", 0), (12, "ddim", 0), (6, "ddim", 20), (6, "ddim", 60)]
    return [model(*setting) for setting in settings] + floors(vocoder)


def floors(vocoder: Vocoder) -> list[System]:
    """Systems without a network: librosa's Griffin-Lim, and mel consistency from white noise."""
    front_end = vocoder.front_end

    def from_noise(iterations: int) -> System:
        return System(
            f"no network: {iterations} consistency iterations from noise",
            lambda mel: mel_consistency(front_end, mel, iterations),
        )

    return [
        System("no network: Griffin-Lim, 60 iterations (librosa)", lambda mel: griffin_lim(front_end, mel)),
        from_noise(20),
        from_noise(60),
    ]


def score_system(system: System, vocoder: Vocoder, paths: list[Path]) -> list[dict[str, Any]]:
    """Scores of one system on every utterance."""
    rows = []
    for path in paths:
        wav = read_audio(path, vocoder.sample_rate).wav
        mel = vocoder.mel(wav)
        begun = time.perf_counter()
        estimate = system.synthesize(mel)[: len(wav)].cpu()
        elapsed = time.perf_counter() - begun
        row: dict[str, Any] = {"utterance": path.stem, "speaker": path.stem.split("-")[0]}
        row["real-time factor"] = elapsed / (len(wav) / vocoder.sample_rate)
        for name, function in SCORES.items():
            row[name] = function(wav.numpy(), estimate.numpy())
        rows.append(row)
    return rows


def summarize(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and 95 % interval of every score; the median of the real-time factor."""
    speakers = sorted({row["speaker"] for row in rows})
    members = {s: [i for i, row in enumerate(rows) if row["speaker"] == s] for s in speakers}
    rng = np.random.default_rng(0)
    draws = [
        np.concatenate([members[speakers[k]] for k in rng.integers(0, len(speakers), len(speakers))])
        for _ in range(_BOOTSTRAP)
    ]
    summary = {}
    for name in DIGITS:
        values = np.array([row[name] for row in rows])
        if name == "real-time factor":
            low, middle, high = np.percentile(values, [5, 50, 95])
            summary[name] = {"median": float(middle), "p5": float(low), "p95": float(high)}
            continue
        means = [values[draw].mean() for draw in draws]
        low, high = np.percentile(means, [2.5, 97.5])
        summary[name] = {"mean": float(values.mean()), "low": float(low), "high": float(high)}
    return summary


def table(results: dict[str, Any]) -> str:
    """The results as a Markdown table."""
    header = ["system", "PESQ-WB", "STOI", "ESTOI", "log-mel distance, nat", "level, dB", "real-time factor"]
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    for system in results["systems"]:
        cells = [system["name"]]
        for name, digits in DIGITS.items():
            figures = system["summary"][name]
            if "median" in figures:
                cells.append(f"{figures['median']:.{digits}f}")
            else:
                half = (figures["high"] - figures["low"]) / 2
                sign = "+" if name == "level" else ""
                cells.append(f"{figures['mean']:{sign}.{digits}f} ± {half:.{digits}f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(results: dict[str, Any]) -> str:
    """The results page."""
    where, story = results["environment"], results["training"]
    return "\n".join(
        [
            f"# Results on the {results['split']} split",
            "",
            f"Generated by `{results['command']}`; the scores of every utterance are in "
            f"[results-{results['split']}.json](results-{results['split']}.json).",
            "",
            f"{results['utterances']} utterances of {results['speakers']} LibriSpeech speakers, none of whom is in the "
            "training data. Every system gets the same mel of the same recording. Mean ± half of the 95 % bootstrap "
            "interval over speakers; the real-time factor is the median over utterances.",
            "",
            table(results),
            "",
            "PESQ hardly hears phase: iterating towards the mel without any network scores high at it. A network has "
            "to earn its place above those rows, and in what PESQ does not hear.",
            "",
            f"Checkpoint: {story.get('iterations')} iterations of {story.get('batch_size')} crops of "
            f"{story.get('crop_seconds')} s, {story.get('seconds', 0) / 60:.0f} minutes on {story.get('device')}.",
            "",
            f"Measured on {where['processor']}, {where['threads']} threads, Python {where['python']}, "
            f"torch {where['torch']}, device {where['device']}.",
            "",
        ]
    )


def training_table(vocoder: Vocoder) -> str:
    """How the checkpoint was trained, as a Markdown table."""
    story = vocoder.training_story
    parameters = sum(parameter.numel() for parameter in vocoder.network.parameters())
    hours = story["iterations"] * story["batch_size"] * story["crop_seconds"] / 3600
    rows = {
        "parameters": f"{parameters:,}",
        "data": f"LibriSpeech train-clean-100, the {story['utterances']} utterances ({story['data_hours']} h) of "
        "[train.txt](recipes/librispeech/splits/train.txt)",
        "command": "`diffwave train experiment=librispeech_fast data.root=data/LibriSpeech train.threads=1 "
        f"train.iterations={story['iterations']} train.decay_iterations=5000`, in several sittings",
        "iterations": f"{story['iterations']:,} of {story['batch_size']} crops of {story['crop_seconds']} s "
        f"({hours:.0f} hours of audio)",
        "time": f"{story['seconds'] / 60:.0f} minutes on one {story['device'].upper()} core, beside other work, pauses "
        "included"
        if story["device"] == "cpu"
        else f"{story['seconds'] / 60:.0f} minutes on one GPU",
        "weights": "exponential moving average, stored in float16",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items())])


def replace_block(text: str, name: str, content: str) -> str:
    """Replace what stands between the markers of a generated block."""
    begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
    before, rest = text.split(begin)
    return before + begin + "\n" + content + "\n" + end + rest.split(end)[1]


def main() -> None:
    """Score, write, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="LibriSpeech root")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--checkpoint", default="default")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--limit", type=int, default=None, help="only so many utterances (for a try)")
    options = parser.parse_args()
    names = (ROOT / "recipes/librispeech/splits" / f"{options.split}.txt").read_text(encoding="utf-8").split()
    paths = [options.data / name for name in names][: options.limit]
    vocoder = Vocoder.from_pretrained(options.checkpoint, options.device)
    results: dict[str, Any] = {
        "split": options.split,
        "command": f"python benchmarks/quality.py --data data/LibriSpeech --split {options.split}",
        "utterances": len(paths),
        "speakers": len({path.stem.split("-")[0] for path in paths}),
        "environment": environment() | {"threads": torch.get_num_threads(), "device": str(vocoder.device)},
        "training": vocoder.training_story,
        "training_table": training_table(vocoder),
        "systems": [],
    }
    for system in systems(vocoder):
        rows = score_system(system, vocoder, paths)
        results["systems"].append({"name": system.name, "summary": summarize(rows), "rows": rows})
        print(table({"systems": results["systems"][-1:]}).splitlines()[-1], flush=True)
    if options.limit is None:
        write_results(results)


def write_results(results: dict[str, Any]) -> None:
    """Write JSON, page, and for the val split the README's table."""
    folder = ROOT / "docs"
    write_text(folder / f"results-{results['split']}.json", json.dumps(results, indent=1) + "\n")
    write_text(folder / f"results-{results['split']}.md", page(results))
    if results["split"] == "val":
        readme = ROOT / "README.md"
        text = replace_block(readme.read_text(encoding="utf-8"), "results", table(results))
        write_text(readme, replace_block(text, "training", results["training_table"]))


if __name__ == "__main__":
    main()
