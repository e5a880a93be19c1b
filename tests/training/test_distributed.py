"""Several processes learn what one would: the same data, the same gradients, also after one of them was killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from diffwave.config import ConfigError
from diffwave.training.distributed import Processes
from diffwave.training.record.states import states
from runs import curve
from training_overrides import SMALL

TESTS = Path(__file__).parents[1]
# Some gradient is always clipped otherwise, and a clipped gradient hides its scale.
BATCH = [*SMALL, "train.batch_size=4", "train.gradient_clip=1e6", "train.threads=1", "train.iterations=6"]


def gradients(folder: Path, processes: int, overrides: list[str]) -> dict[str, Any]:
    """What ``gradients.py`` finds with so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    output = folder / f"gradients-{processes}.pt"
    command = [sys.executable, str(TESTS / "gradients.py"), str(output), "2", *overrides, f"run_dir={folder / 'none'}"]
    running = []
    for rank in range(processes):
        where = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        where |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        running.append(subprocess.Popen(command, env=os.environ | where, stderr=subprocess.PIPE, text=True))
    for process in running:
        _, error = process.communicate(timeout=200)
        assert process.returncode == 0, error[-2000:]
    found: dict[str, Any] = torch.load(output, weights_only=True)
    return found


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_have_the_gradients_of_one(corpus: Path, tmp_path: Path, accumulate: int) -> None:
    overrides = [*BATCH, f"data.root={corpus}"]
    one = gradients(tmp_path, 1, overrides)
    two = gradients(tmp_path, 2, [*overrides, f"train.accumulate={accumulate}"])
    for iteration in range(2):
        flat = [number for part in two["crops"][iteration] for number in part]
        assert flat == one["crops"][iteration][0] == list(range(4 * iteration, 4 * iteration + 4))
        together = [loss for part in two["losses"][iteration] for loss in part]
        assert together == pytest.approx(one["losses"][iteration][0], rel=1e-5)
    # Before the first update the weights are equal to the bit; afterwards Adam makes much of a last digit.
    first, other = one["gradients"][0], two["gradients"][0]
    assert first.keys() == other.keys()
    largest = max(float(value.abs().max()) for value in first.values())
    assert largest > 1e-2
    assert sum(bool(value.any()) for value in first.values()) == len(first)
    for name, value in first.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    three = Processes(torch.device("cpu"), 0, 3)
    assert three.share(12, 2) == 2
    with pytest.raises(ConfigError, match=r"train.batch_size=16: expected a multiple of 6, 3 processes with .*=2"):
        three.share(16, 2)


def torchrun(run: Path, corpus: Path, *more: str) -> list[str]:
    """A command line with two processes."""
    own = [*BATCH, "train.iterations=80", "train.checkpoint_every=5", "train.validate_every=10", "train.log_every=4"]
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("--max-restarts", "3", "-m", "diffwave", "train", *own, f"data.root={corpus}", f"run_dir={run}", *more),
    ]


def children(process: int) -> list[int]:
    """Processes that ``process`` has started."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def test_a_killed_process_is_started_again_and_nothing_is_lost(corpus: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    subprocess.run(torchrun(straight, corpus), env=environment, check=True, capture_output=True, timeout=200)
    agent = subprocess.Popen(
        torchrun(killed, corpus), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until = time.monotonic() + 100
    while not states(killed):
        assert time.monotonic() < until
        assert agent.poll() is None
        time.sleep(0.01)
    workers = children(agent.pid)
    assert len(workers) == 2
    os.kill(workers[-1], signal.SIGKILL)
    said, _ = agent.communicate(timeout=200)
    assert agent.returncode == 0, said[-3000:]
    assert "resumed" in (killed / "train.log").read_text()
    assert (straight / "model.safetensors").read_bytes() == (killed / "model.safetensors").read_bytes()
    assert curve(straight) == curve(killed)
    story = json.loads((killed / "config.json").read_text())["training"]
    assert (story["processes"], story["batch_size"], story["iterations"]) == (2, 4, 80)
