"""Training that must be exact: two processes against one, and a run that is killed against one that is not."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffwave.checkpoint.folder import WEIGHTS_NAME
from diffwave.training.record.states import states
from peer import ROOT, difference
from training_runs import DEFAULT_MODEL, SMALL_MODEL, history, run, train, workplace

GRADIENT_TOLERANCE = 1e-6
_TIMES = ("seconds", "crops_per_second", "samples_per_second", "data_wait", "memory_mib")


def gradients(options: argparse.Namespace) -> dict[str, Any]:
    """Gradients of two processes against those of one, from a state where every parameter has one."""
    warm_up = 20
    with workplace(options) as (folder, data):
        # A new network's output layer is zero: nothing before it has a gradient, and there is nothing to compare.
        base = [*DEFAULT_MODEL, *data, "train.device=cpu", "train.precision=float32", "train.gradient_clip=1e6"]
        base += ["train.warmup=0", "train.threads=1", "train.validation_utterances=1"]
        train([*base, f"run_dir={folder / 'run'}", f"train.iterations={warm_up}"])
        base += [f"run_dir={folder / 'run'}", f"train.iterations={warm_up + 2}"]
        one, two = (noted_gradients(folder, count, base) for count in (1, 2))
    first, other = one["gradients"][0], two["gradients"][0]
    largest = {name: difference(value, other[name]) for name, value in first.items()}
    worst = max(largest, key=lambda name: largest[name])
    return {
        "warm_up": warm_up,
        "tolerance": GRADIENT_TOLERANCE,
        "difference": largest[worst],
        "difference_in": worst,
        "gradient_largest": max(float(value.abs().max()) for value in first.values()),
        "parameters": sum(value.numel() for value in first.values()),
        "parameters_with_gradient": sum(int(value.count_nonzero()) for value in first.values()),
        "same_order": [flat(one["crops"][i]) == flat(two["crops"][i]) for i in range(2)],
        "crops": [flat(two["crops"][i]) for i in range(2)],
    }


def noted_gradients(folder: Path, count: int, overrides: list[str]) -> dict[str, Any]:
    """What ``tests/gradients.py`` notes with so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    output = folder / f"gradients-{count}.pt"
    command = [sys.executable, str(ROOT / "tests" / "gradients.py"), str(output), "2", *overrides]
    running = []
    for rank in range(count):
        where = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
        where |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT)}
        running.append(subprocess.Popen(command, env=os.environ | where, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate()[1] for process in running]
    if any(process.returncode for process in running):
        raise RuntimeError(f"tests/gradients.py, {count} processes: {errors[0].strip()[-500:]}")
    found: dict[str, Any] = torch.load(output, weights_only=True)
    return found


def flat(parts: list[list[int]]) -> list[int]:
    """Crop numbers of all processes, by rank."""
    return [number for part in parts for number in part]


def kills(options: argparse.Namespace) -> dict[str, Any]:
    """A run that is killed again and again, beside one that is left alone."""
    last = 240
    with workplace(options) as (folder, data):
        overrides = [*SMALL_MODEL, *data, f"train.iterations={last}", "train.validation_utterances=1"]
        overrides += ["train.checkpoint_every=2", "train.validate_every=7", "train.log_every=4"]
        straight, killed = folder / "straight", folder / "killed"
        train([*overrides, f"run_dir={straight}"])
        # It reads every file that is there after each kill, and fails if one cannot be read.
        command = [sys.executable, str(ROOT / "tests" / "killed_runs.py"), str(options.kills), str(options.seed)]
        struck = [int(word) for word in run([*command, *overrides, f"run_dir={killed}"]).split()]
        checkpoints = (WEIGHTS_NAME, f"best/{WEIGHTS_NAME}")
        return {
            "setting": {"iterations": last, "seed": options.seed},
            "kills": len(struck),
            "found_at": struck,
            "states_equal": same_state(states(straight)[-1], states(killed)[-1]),
            "checkpoints_equal": all((straight / n).read_bytes() == (killed / n).read_bytes() for n in checkpoints),
            "history_equal": curve(straight) == curve(killed),
            "leftovers": sorted(path.name for path in killed.rglob(".*")),
        }


def same_state(first: Path, second: Path) -> bool:
    """Whether weights, average, optimiser and progress are equal to the bit, but for the time that they took."""
    one, two = (torch.load(path, weights_only=True) for path in (first, second))
    for state in (one, two):
        state["progress"].pop("seconds")
    return all(equal(one[part], two[part]) for part in ("network", "average", "optimizer", "progress"))


def equal(one: Any, two: Any) -> bool:
    """Bit for bit, through nested dictionaries and lists."""
    if isinstance(one, Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(equal, one, two))
    return bool(one == two)


def curve(folder: Path) -> list[dict[str, Any]]:
    """The history without what depends on the clock."""
    return [{key: value for key, value in row.items() if key not in _TIMES} for row in history(folder)]
