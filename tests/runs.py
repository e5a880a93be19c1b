"""Training runs in tests, and what they left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffwave.config import TrainingConfig
from diffwave.training.distributed import Processes
from diffwave.training.trainer import Trainer

Configure = Callable[..., TrainingConfig]


def trainer_of(config: TrainingConfig) -> Trainer:
    """The trainer of a run of this process alone, or of those that ``torchrun`` started."""
    return Trainer(config, Processes.join(config.train.device))


def train(config: TrainingConfig) -> Path:
    trainer_of(config).run()
    return Path(config.run_dir)


def history(run: Path, key: str) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [(row["iteration"], row[key]) for row in rows if key in row]


def state(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def equal(first: Any, second: Any) -> bool:
    """Bit for bit, through nested dictionaries and lists."""
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return bool(first == second)


def same_weights(first: Path, second: Path) -> bool:
    """Whether two states have learned the same, to the bit."""
    one, two = state(first), state(second)
    return all(equal(one[part], two[part]) for part in ("network", "average", "optimizer"))


def same_training(first: Path, second: Path) -> bool:
    """Whether two states are equal to the bit, but for the time that they took."""
    return same_weights(first, second) and progress(state(first)) == progress(state(second))


def progress(state: dict[str, Any]) -> dict[str, Any]:
    """How far a run has come, without the time it took."""
    return {key: value for key, value in state["progress"].items() if key != "seconds"}


TIMES = ("seconds", "crops_per_second", "samples_per_second", "data_wait", "memory_mib")


def curve(run: Path) -> list[dict[str, Any]]:
    """The whole history, without what depends on the clock."""
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]
