"""Train a variant of ours under the budget: ``diffwave train`` in a process of its own, ended by its own schedule.

With minutes as the budget, the run has three legs: some iterations that tell the speed, most of the others at the full
rate, and a last leg of as many as fit into what is left, over which the learning rate falls to zero.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ablation.settings import ROOT, Laboratory, read, write
from ablation.variants import Variant

PROBE = 16  # iterations; the first half warms up
WARMUP = 50  # iterations of a rise of the learning rate: 300 would be most of a short training
VALIDATION = 4  # utterances of two seconds, at eight noise levels each
DECAY_SHARE = 0.3  # of the iterations, at the end, in which it falls
_PATIENCE = 4.0  # times the budget, after which something else must have taken the machine
_START = 300.0  # s that a process may take beside its iterations
_NEVER = 10**9


class VariantError(RuntimeError):
    """A variant that could not be trained or run; the others go on."""


def train(variant: Variant, seed: int, laboratory: Laboratory) -> dict[str, Any]:
    """Train, or find what was trained under the same conditions.

    Returns:
        ``iterations``, ``seconds`` (training alone, without validation), ``validation_loss``, ``model``, ``parameters``
        and ``overrides``.

    Raises:
        VariantError: if training fails, with the last line that it said.
    """
    run_dir = laboratory.runs / f"{variant.name}-{seed}"
    overrides = all_overrides(variant, seed, laboratory)
    request = {"overrides": overrides, "budget": [laboratory.minutes, laboratory.iterations]}
    done = read(run_dir / "trained.json")
    if done.get("request") == request:
        found: dict[str, Any] = done["training"]
        return found
    _clear(run_dir)
    where = [f"data.root={_quoted(laboratory.data)}", f"run_dir={_quoted(run_dir)}"]
    begun = 0 if laboratory.iterations else _first_legs([*overrides, *where], run_dir, laboratory)
    iterations = laboratory.iterations or begun + _fitting(run_dir, laboratory)
    decay = iterations - begun if begun else max(1, round(DECAY_SHARE * iterations))
    _run([*overrides, *where, *_length(iterations, decay)], laboratory)
    training = {**_figures(run_dir), "overrides": overrides}
    write(run_dir / "trained.json", {"request": request, "training": training})
    for path in run_dir.glob("training-*.pt"):  # optimiser states, of tens of MiB each
        path.unlink()
    return training


def all_overrides(variant: Variant, seed: int, laboratory: Laboratory) -> list[str]:
    """Settings of a run, without its length and its folders; a variant's own come last."""
    quiet = ["train.outputs_every=0", "train.tensorboard=false", "train.keep_checkpoints=1"]
    rare = [f"train.{name}={_NEVER}" for name in ("checkpoint_every", "validate_every")]
    machine = [f"train.threads={laboratory.threads}", f"train.device={laboratory.device}", f"train.seed={seed}"]
    common = [f"experiment={laboratory.experiment}", *quiet, *rare, *machine, f"train.warmup={WARMUP}"]
    common.append(f"train.validation_utterances={VALIDATION}")
    return [*common, *laboratory.overrides, *variant.overrides]


def _first_legs(overrides: list[str], run_dir: Path, laboratory: Laboratory) -> int:
    """Train at the full rate until the last leg; returns the iterations so far."""
    quick = "train.validation_utterances=1"
    _run([*overrides, quick, *_length(PROBE, 0)], laboratory)
    total = PROBE + _fitting(run_dir, laboratory)
    begun = max(PROBE, round((1 - DECAY_SHARE) * total))
    if begun > PROBE:
        _run([*overrides, quick, *_length(begun, 0)], laboratory)
    return begun


def _length(iterations: int, decay: int) -> list[str]:
    """Overrides for a leg that ends at so many iterations; its speed is written down at least twice."""
    every = max(1, min(50, iterations // 4))
    return [f"train.iterations={iterations}", f"train.decay_iterations={decay}", f"train.log_every={every}"]


def _fitting(run_dir: Path, laboratory: Laboratory) -> int:
    """Iterations that fit into what is left of the minutes, at the speed of the last half of those done."""
    rows = _timed(run_dir)
    late = rows[len(rows) // 2 :]
    speed = sum(count for count, _ in late) / sum(seconds for _, seconds in late)
    left = 60 * laboratory.minutes - sum(seconds for _, seconds in rows)
    return max(1, int(left * speed))


def _run(overrides: list[str], laboratory: Laboratory) -> None:
    """``diffwave train``.

    Raises:
        VariantError: if it fails or does not end.
    """
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"OMP_NUM_THREADS": str(laboratory.threads), "PYTHONPATH": search}
    limit = _START + _PATIENCE * 60 * laboratory.minutes if laboratory.minutes else None
    command = [sys.executable, "-m", "diffwave", "train", *overrides]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        raise VariantError(f"training: expected an end within {limit:.0f} s; there was none") from None
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise VariantError(f"training: exit code {done.returncode}; {said}")


def _timed(run_dir: Path) -> list[tuple[int, float]]:
    """Iterations of each line of the history, and the seconds that they took, without validation."""
    batch = read(run_dir / "config.json")["training"]["batch_size"]
    rows, before = [], 0
    for row in _history(run_dir):
        if "crops_per_second" in row:
            count = row["iteration"] - before
            rows.append((count, count * batch / row["crops_per_second"]))
            before = row["iteration"]
    return rows


def _figures(run_dir: Path) -> dict[str, Any]:
    """What the run has become."""
    from diffwave.checkpoint.folder import load_checkpoint
    from diffwave.config.document import to_dict

    checkpoint = load_checkpoint(run_dir)
    rows = [row for row in _history(run_dir) if "validation_loss" in row]
    return {
        "iterations": _history(run_dir)[-1]["iteration"],
        "seconds": round(sum(seconds for _, seconds in _timed(run_dir)), 1),
        "validation_loss": rows[-1]["validation_loss"],
        "model": to_dict(checkpoint.config),
        "parameters": sum(parameter.numel() for parameter in checkpoint.build("cpu").parameters()),
    }


def _history(run_dir: Path) -> list[dict[str, Any]]:
    import json

    return [json.loads(line) for line in (run_dir / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def _clear(run_dir: Path) -> None:
    """Remove what an interrupted or different training has left: a part of one has another schedule."""
    import shutil

    shutil.rmtree(run_dir, ignore_errors=True)


def _quoted(path: Path) -> str:
    """A path as a hydra value, whatever letters it has."""
    text = str(path.resolve()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
