"""Whole training runs on real recordings: waiting for data, memory, and what a resume costs.

Each function makes one section of ``docs/benchmarks/training.json`` in a temporary folder; runs are the command
``diffwave train`` in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffwave.checkpoint.folder import WEIGHTS_NAME
from diffwave.training.record.states import states
from peer import ROOT, spread
from training_speed import write_corpus

COPIES = 20
# What changes nothing about learning: no pictures, no sound, nothing on the side.
QUIET = ["train.outputs_every=0", "train.tensorboard=false"]
DEFAULT_MODEL = ["experiment=librispeech_fast", *QUIET]
# A network of some milliseconds, for what is about everything around it.
SMALL_MODEL = [
    "experiment=debug_cpu",
    "model.network.residual_channels=8",
    "model.network.residual_layers=2",
    "data.crop_frames=8",
    "train.batch_size=2",
    "train.device=cpu",
    "train.threads=1",
    "train.outputs_every=0",
]
WARM_UP = 200  # iterations before memory is looked at


def train(overrides: list[str], threads: int = 1) -> None:
    """Run ``diffwave train`` to its end.

    Raises:
        RuntimeError: if it fails, with the last of what it said.
    """
    run([sys.executable, "-m", "diffwave", "train", *overrides], threads)


def run(command: list[str], threads: int = 1, **more: str) -> str:
    """Run a command with so many threads; returns what it printed.

    Raises:
        RuntimeError: if it fails, with the last of what it said.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)} | more
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def history(folder: Path) -> list[dict[str, Any]]:
    """Rows of a run's history."""
    return [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]


@contextlib.contextmanager
def workplace(options: argparse.Namespace) -> Iterator[tuple[Path, list[str]]]:
    """A temporary folder, and where the data are: the given ones, or copies of the recordings in the repository."""
    with tempfile.TemporaryDirectory() as name:
        root = options.data or write_corpus(Path(name) / "corpus", COPIES)
        yield Path(name), [f"data.root={root.resolve()}"]


def wait(options: argparse.Namespace) -> dict[str, Any]:
    """Share of time that the default model's training waits for data, with and without loader processes."""
    every, lines = 20, options.wait_lines
    rows = {}
    with workplace(options) as (folder, data):
        for workers in (0, 2):
            overrides = [*DEFAULT_MODEL, *data, f"run_dir={folder / str(workers)}", f"data.workers={workers}"]
            overrides += [f"train.iterations={every * (lines + 1)}", f"train.log_every={every}"]
            overrides += ["train.validate_every=1000000", f"train.device={options.device}"]
            train(overrides, options.threads)
            found = [row for row in history(folder / str(workers)) if "data_wait" in row]
            # In the first line processes start and files are read for the first time.
            rows[str(workers)] = {
                "first": found[0]["data_wait"],
                "data_wait": spread([row["data_wait"] for row in found[1:]]),
                "crops_per_second": statistics.median(row["crops_per_second"] for row in found[1:]),
            }
            print(f"wait, {workers} workers: {rows[str(workers)]}", file=sys.stderr, flush=True)
    setting = {"iterations": every * lines, "log_every": every, "threads": options.threads, "device": options.device}
    return {"setting": setting | {"data": "given" if options.data else "repository"}, "workers": rows}


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Resident memory of a long run with validation and checkpoints."""
    with workplace(options) as (folder, data):
        overrides = [*SMALL_MODEL, *data, f"run_dir={folder / 'run'}", f"train.iterations={options.memory_iterations}"]
        overrides += ["train.log_every=50", "train.validate_every=100", "train.checkpoint_every=100"]
        train(overrides)
        rows = [(row["iteration"], row["memory_mib"]) for row in history(folder / "run") if "memory_mib" in row]
    return {"rows": rows, **growth(rows)}


def growth(rows: list[tuple[int, float]]) -> dict[str, Any]:
    """How memory moves after the warm-up; medians, since a line that follows a checkpoint is some MiB higher.

    Args:
        rows: iteration and MiB.

    Raises:
        ValueError: if the run was too short.
    """
    settled = [(iteration, mib) for iteration, mib in rows if iteration >= WARM_UP]
    if len(settled) < 2:
        raise ValueError(f"memory: expected several lines after iteration {WARM_UP}; got {len(settled)}")
    few = max(1, len(settled) // 4)
    first, last = (statistics.median(mib for _, mib in part) for part in (settled[:few], settled[-few:]))
    pairs = itertools.combinations(settled, 2)
    slope = statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs)  # Theil and Sen
    return {
        "from": settled[0],
        "to": settled[-1],
        "first_quarter": first,
        "last_quarter": last,
        "most": max(settled, key=lambda row: row[1]),
        "growth": last / first - 1,
        "kib_per_1000_iterations": slope * 1024 * 1000,
    }


def resume(options: argparse.Namespace) -> dict[str, Any]:
    """Time and room that a state takes, and the time from the command to the first iteration after it."""
    from diffwave.config.composing import compose_config
    from diffwave.training.trainer import Trainer

    with workplace(options) as (folder, data):
        overrides = [*DEFAULT_MODEL, *data, "train.device=cpu", f"run_dir={folder / 'run'}", "train.log_every=1"]
        overrides += ["train.validation_utterances=1", "train.validate_every=1000000"]
        train([*overrides, "train.iterations=1"], options.threads)
        config = compose_config([*overrides, "train.iterations=2"])
        Trainer(config)  # much is imported at its first use
        begun = time.perf_counter()
        trainer = Trainer(config)
        building = time.perf_counter() - begun
        saves = []
        for _ in range(options.rounds):
            begun = time.perf_counter()
            trainer.save()
            saves.append(time.perf_counter() - begun)
        sizes = {"state": states(folder / "run")[-1].stat().st_size}
        sizes["checkpoint"] = (folder / "run" / WEIGHTS_NAME).stat().st_size
        starts = [until_first_iteration(folder, overrides, options.threads) for _ in range(options.rounds)]
    return {
        "save_seconds": spread(saves),
        "build_seconds": building,
        "start_seconds": {name: spread([start[name] for start in starts]) for name in ("anew", "resumed")},
        "bytes": sizes,
    }


def until_first_iteration(folder: Path, overrides: list[str], threads: int) -> dict[str, float]:
    """Seconds from the command to the first line of history, of a new run and of one that goes on."""
    seconds = {}
    for name, iteration in (("anew", 1), ("resumed", 2)):
        run_dir = folder / name
        shutil.rmtree(run_dir, ignore_errors=True)
        if name == "resumed":
            shutil.copytree(folder / "run", run_dir)
        command = [sys.executable, "-m", "diffwave", "train", *overrides, "train.iterations=100", f"run_dir={run_dir}"]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
        begun = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not reached(run_dir, iteration):
            if process.poll() is not None:
                raise RuntimeError(f"diffwave train ended with {process.returncode} before iteration {iteration}")
            time.sleep(0.005)
        seconds[name] = time.perf_counter() - begun
        process.kill()
        process.wait()
    return seconds


def reached(folder: Path, iteration: int) -> bool:
    """Whether the history has the line of an iteration."""
    with contextlib.suppress(OSError, ValueError):
        return any(row["iteration"] >= iteration for row in history(folder))
    return False
