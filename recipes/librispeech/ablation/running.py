"""One variant and seed after the other: train, speak, score, write down; what is done is not done again."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ablation.variants import Variant
from benchmarks.report import ROOT, environment, read
from diffwave.checkpoint.folder import load_checkpoint
from diffwave.checkpoint.provenance import commit
from diffwave.config import ConfigError, ModelConfig
from diffwave.config.composing import compose_config
from diffwave.config.document import to_dict
from diffwave.errors import one_line
from diffwave.files import write_text
from diffwave.speed.roofline import call_work

STEPS = 6
METRICS = ("pesq_wb", "estoi", "mr_stft_aligned", "periodicity_pyin", "synchrony", "silence", "real_time_factor")
ALONE, CONSISTENT = "alone", "consistent"
# Of `diffwave baseline`; the last has as many iterations as a default synthesis of the packaged checkpoint.
FLOORS = {
    "griffin-lim-60": ("Griffin-Lim, 60 iterations", "griffin-lim", 60),
    "consistency-200": ("200 iterations of mel consistency from noise", "mel-consistency", 200),
    "consistency-1132": ("1132 iterations of mel consistency from noise", "mel-consistency", 1132),
}
WARMUP = 50  # iterations of a rise of the learning rate: 300 would be much of a short training
DECAY_SHARE = 0.3  # of the iterations, at the end, in which it falls
_NEVER = 10**9
# By utterance: the speaker and the scores, those that there are.
Rows = dict[str, dict[str, Any]]


class VariantError(RuntimeError):
    """A variant that could not be trained or run; the others go on."""


@dataclass(frozen=True)
class Laboratory:
    """The conditions that every variant is trained and scored under.

    Args:
        data: LibriSpeech root.
        output: folder of the results.
        iterations: of training.
        utterances: relative paths below ``data``, synthesized and scored.
        threads: of PyTorch.
        device: ``cpu`` or ``cuda``.
        experiment: configuration that variants start from.
        overrides: hydra overrides of all variants, before their own.
        consistency: iterations towards the mel of the second system.
    """

    data: Path
    output: Path
    iterations: int
    utterances: tuple[str, ...]
    threads: int
    device: str
    experiment: str
    overrides: tuple[str, ...]
    consistency: int

    def common(self) -> dict[str, Any]:
        """What two results must share to stand in one table; where files lie does not matter."""
        values = {key: value for key, value in asdict(self).items() if key not in ("data", "output")}
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain

    @property
    def reference(self) -> Path:
        """Folder of links to the recordings that are synthesized."""
        return self.output / "reference"

    def command(self, seeds: Sequence[int]) -> str:
        """What makes these results, with the folders as the recipe calls them."""
        words = ["python recipes/librispeech/ablate.py --data data/LibriSpeech --output ablation"]
        words += [f"--iterations {self.iterations} --seeds {' '.join(map(str, seeds))}"]
        words += [f"--utterances {len(self.utterances)} --threads {self.threads} --device {self.device}"]
        return " ".join([*words, *(["--", *self.overrides] if self.overrides else [])])


def link_recordings(laboratory: Laboratory) -> None:
    """Make the folder of links anew.

    Raises:
        ConfigError: if a recording is not there.
    """
    shutil.rmtree(laboratory.reference, ignore_errors=True)
    laboratory.reference.mkdir(parents=True)
    for name in laboratory.utterances:
        path = (laboratory.data / name).resolve()
        if not path.is_file():
            raise ConfigError(f"--data {laboratory.data}: expected the validation utterance {path.name}; no {path}")
        (laboratory.reference / path.name).symlink_to(path)


def run_all(laboratory: Laboratory, variants: Sequence[Variant], seeds: Sequence[int]) -> int:
    """Fill in every result that is missing; returns how many could not be had."""

    def floors() -> dict[str, Any]:
        folders = {name: _floor(name, laboratory) for name in FLOORS}
        return {"systems": _score(folders, laboratory)}

    def variant_of(variant: Variant, seed: int) -> Callable[[], dict[str, Any]]:
        def make() -> dict[str, Any]:
            training = train(variant, seed, laboratory)
            return {"training": training, "systems": _score(_speak(variant, seed, laboratory), laboratory)}

        return make

    failed = not _fill(laboratory.output / "floors.json", laboratory, {}, "", floors)
    for seed in seeds:  # a whole table first, then more seeds
        for variant in variants:
            told = {"variant": variant.name, "seed": seed, "overrides": all_overrides(variant, seed, laboratory)}
            path = laboratory.output / f"{variant.name}-{seed}.json"
            failed += not _fill(path, laboratory, told, laboratory.command(seeds), variant_of(variant, seed))
    return failed


def _fill(
    path: Path, laboratory: Laboratory, told: dict[str, Any], command: str, make: Callable[[], dict[str, Any]]
) -> bool:
    """Make a result unless it is there; false if it cannot be had, which is written down too and tried again.

    Args:
        path: of the result.
        laboratory: the conditions; a result under others is made anew.
        told: what else it depends on.
        command: that makes it.
        make: trains, speaks and scores.
    """
    head = {"settings": laboratory.common(), "metrics": list(METRICS), **told}
    there = read(path)
    if "error" not in there and all(there.get(key) == value for key, value in head.items()):
        _say(f"{path.stem}: done before")
        return True
    _say(f"{path.stem}: begins")
    try:
        document = make()
    except VariantError as error:
        document = {"error": one_line(str(error))}
    where = {"environment": environment(), "commit": commit(), "command": command}
    write_text(path, json.dumps({**head, **where, **document}, indent=1) + "\n")
    _say(f"{path.stem}: {document.get('error') or 'done'}")
    return "error" not in document


def train(variant: Variant, seed: int, laboratory: Laboratory) -> dict[str, Any]:
    """Train, or find what was trained under the same conditions.

    Returns:
        ``iterations``, ``seconds`` (of training alone), ``validation_loss``, ``model`` and ``parameters``.

    Raises:
        VariantError: if training fails, with the last line that it said.
    """
    run_dir = _run_dir(variant, seed, laboratory)
    overrides = all_overrides(variant, seed, laboratory)
    done = read(run_dir / "trained.json")
    if done.get("overrides") == overrides:
        found: dict[str, Any] = done["training"]
        return found
    # A part of another training, or of an interrupted one, has another schedule.
    shutil.rmtree(run_dir, ignore_errors=True)
    where = [f"data.root={_quoted(laboratory.data)}", f"run_dir={_quoted(run_dir)}"]
    _diffwave(["train", *overrides, *where], laboratory)
    training = _figures(run_dir)
    write_text(run_dir / "trained.json", json.dumps({"overrides": overrides, "training": training}, indent=1) + "\n")
    for path in run_dir.glob("training-*.pt"):  # optimiser states, of tens of MiB each
        path.unlink()
    return training


def all_overrides(variant: Variant, seed: int, laboratory: Laboratory) -> list[str]:
    """Settings of a run, without its folders; a variant's own come last."""
    count = laboratory.iterations
    length = {"iterations": count, "decay_iterations": max(1, round(DECAY_SHARE * count)), "warmup": WARMUP}
    rare = {"checkpoint_every": _NEVER, "validate_every": _NEVER, "outputs_every": 0, "keep_checkpoints": 1}
    rare |= {"log_every": max(1, min(50, count // 4)), "validation_utterances": 4}
    machine = {"threads": laboratory.threads, "device": laboratory.device, "seed": seed, "tensorboard": "false"}
    own = [f"train.{key}={value}" for key, value in (length | rare | machine).items()]
    return [f"experiment={laboratory.experiment}", *own, *laboratory.overrides, *variant.overrides]


def _speak(variant: Variant, seed: int, laboratory: Laboratory) -> dict[str, Path]:
    """Copy synthesis with six steps, alone and with consistency; returns the folders."""
    run_dir = _run_dir(variant, seed, laboratory)
    folders = {ALONE: run_dir / ALONE, CONSISTENT: run_dir / CONSISTENT}
    for kind, iterations in ((ALONE, 0), (CONSISTENT, laboratory.consistency)):
        command = ["synthesize", str(laboratory.reference), "--checkpoint", str(run_dir), "--steps", str(STEPS)]
        command += ["--consistency", str(iterations), "--device", laboratory.device]
        _into(folders[kind], command, laboratory)
    return folders


def _floor(name: str, laboratory: Laboratory) -> Path:
    """Copy synthesis without a network; returns the folder."""
    _, system, iterations = FLOORS[name]
    folder = laboratory.output / "runs" / "floors" / name
    command = ["baseline", "--reference", str(laboratory.reference), "--system", system]
    _into(folder, [*command, "--iterations", str(iterations)], laboratory)
    return folder


def _into(folder: Path, command: list[str], laboratory: Laboratory) -> None:
    """Run a command of diffwave into a fresh folder."""
    shutil.rmtree(folder, ignore_errors=True)
    _diffwave([*command, "--output", str(folder)], laboratory)


def _score(folders: dict[str, Path], laboratory: Laboratory) -> dict[str, Rows]:
    """Scores of every utterance, by system."""
    report = next(iter(folders.values())).parent / "scores"
    command = ["evaluate", "--reference", str(laboratory.reference), "--report", str(report), "--force"]
    command += ["--metrics", ",".join(METRICS), "--floor", "0", "--workers", str(laboratory.threads)]
    for name, folder in folders.items():
        command += ["--estimate", f"{name}={folder}"]
    _diffwave(command, laboratory, fine=(0, 1))  # 1: there are empty cells
    found: dict[str, Rows] = {name: {} for name in folders}
    with (report / "utterances.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    for row in table:
        scores = {name: float(row[name]) for name in METRICS if row[name]}
        found[row["system"]][row["utterance"]] = {"speaker": row["speaker"], "scores": scores}
    return found


def _diffwave(arguments: list[str], laboratory: Laboratory, fine: tuple[int, ...] = (0,)) -> None:
    """Run the program in a process of its own.

    Raises:
        VariantError: if it ends with another exit code than a fine one, with the last line that it said.
    """
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    variables = os.environ | {"OMP_NUM_THREADS": str(laboratory.threads), "PYTHONPATH": search}
    command = [sys.executable, "-m", "diffwave", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    if done.returncode not in fine:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise VariantError(f"diffwave {arguments[0]}: exit code {done.returncode}; {said}")


def _figures(run_dir: Path) -> dict[str, Any]:
    """What the run has become."""
    checkpoint = load_checkpoint(run_dir)
    rows = [json.loads(line) for line in (run_dir / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    batch, seconds, before = read(run_dir / "config.json")["training"]["batch_size"], 0.0, 0
    for row in rows:
        if "crops_per_second" in row:
            seconds += (row["iteration"] - before) * batch / row["crops_per_second"]
            before = row["iteration"]
    losses = [row["validation_loss"] for row in rows if "validation_loss" in row]
    return {
        "iterations": rows[-1]["iteration"],
        "seconds": round(seconds, 1),
        "validation_loss": losses[-1],
        "model": to_dict(checkpoint.config),
        "parameters": sum(parameter.numel() for parameter in checkpoint.build("cpu").parameters()),
    }


def relative_cost(variant: Variant) -> float:
    """Operations of a network call in training (projections of the mel included), over the default's."""
    # What does not change the network need not be composed, which takes a while.
    shape = tuple(text for text in variant.overrides if text.startswith("model.network."))
    return _operations(shape) / _operations(())


@cache
def _operations(overrides: tuple[str, ...]) -> int:
    model: ModelConfig = compose_config(["experiment=librispeech_fast", *overrides]).model
    samples = model.mel.sample_rate // model.mel.hop_length * model.mel.hop_length
    return call_work(model, samples, batch=1, kept=False, width=2).operations


def _run_dir(variant: Variant, seed: int, laboratory: Laboratory) -> Path:
    return laboratory.output / "runs" / f"{variant.name}-{seed}"


def _quoted(path: Path) -> str:
    """A path as a hydra value, whatever letters it has."""
    text = str(path.resolve()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _say(line: str) -> None:
    print(f"ablate.py: {one_line(line)}", file=sys.stderr, flush=True)
