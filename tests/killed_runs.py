"""Train, be killed at random moments, and go on, in processes that share one import of PyTorch.

    python tests/killed_runs.py KILLS SEED OVERRIDE...

After every kill the newest state and the checkpoint must be readable. Ends with a run that is let go to its end, and
prints the iterations that were found after each kill.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from diffwave.checkpoint.folder import WEIGHTS_NAME, load_checkpoint
from diffwave.config import TrainingConfig
from diffwave.config.composing import compose_config
from diffwave.training.record.states import states
from runs import trainer_of


def start(config: TrainingConfig) -> int:
    """Begin, or go on with, the run in a process of its own; returns its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        trainer_of(config).run()
        code = 0
    finally:
        os._exit(code)


def found(run: Path) -> int:
    """Iteration of the newest state; every file that has a final name must be whole."""
    for path in states(run):
        torch.load(path, weights_only=True)
    for folder in (run, run / "best"):
        if (folder / WEIGHTS_NAME).exists():
            load_checkpoint(folder).build()
    return newest(run)


def newest(run: Path) -> int:
    """Iteration of the newest state; 0 if there is none."""
    paths = states(run)
    return int(paths[-1].stem.split("-")[1]) if paths else 0


def main() -> None:
    """Kill, look, go on."""
    kills, seed = int(sys.argv[1]), int(sys.argv[2])
    config = compose_config(sys.argv[3:])
    # Half of what PyTorch is gets imported at the first use: once here, not in every child.
    with tempfile.TemporaryDirectory() as folder:
        trainer_of(compose_config([*sys.argv[3:], "train.iterations=1", f"run_dir={folder}"])).run()
    chance, iterations, run = random.Random(seed), [], Path(config.run_dir)
    while len(iterations) < kills:
        child = start(config)
        # After some progress, not after some time: machines differ. Then at any moment of the iterations that follow.
        goal = newest(run) + chance.choice((0, 0, 1, 3, 6))
        while newest(run) < goal:
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.1))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(f"the run ended by itself, {status}, after {len(iterations)} kills")
        iterations.append(found(run))
    _, status = os.waitpid(start(config), 0)
    print(*iterations)
    sys.exit(status)


if __name__ == "__main__":
    main()
