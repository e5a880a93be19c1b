"""How far a run has come, which is everything in its state that is not a weight; and how fast it goes."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from diffwave.training.loss.noise_levels import BINS, means


@dataclass
class Window:
    """Sums of what was learned since the last line.

    They are part of a run's state: after a resume the next line is the same as without the interruption.
    """

    iterations: int = 0
    gradient_norm: float = 0.0
    losses: list[float] = field(default_factory=lambda: [0.0] * BINS)
    counts: list[float] = field(default_factory=lambda: [0.0] * BINS)

    def add(self, losses: list[float], counts: list[float], gradient_norm: float) -> None:
        """Add an iteration: sum and number of its losses in each bin of the noise level."""
        self.iterations += 1
        self.gradient_norm += gradient_norm
        self.losses = [a + b for a, b in zip(self.losses, losses, strict=True)]
        self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]

    def figures(self) -> dict[str, Any]:
        """Means over the window."""
        return {
            "loss": sum(self.losses) / sum(self.counts),
            "loss_by_noise": means(self.losses, self.counts),
            "gradient_norm": self.gradient_norm / self.iterations,
        }


@dataclass
class Progress:
    """How far a run has come.

    Args:
        iteration: optimiser steps done.
        crops: crops taken so far, over all processes; the number of the next one.
        seconds: of training, over all the times that the run was started.
        window: figures since the last line of the history.
        validation: figures of the last validation.
        best: figures of the best validation, with its iteration.
        outputs: figures of the last outputs, with their iteration.
        started_from: name of the checkpoint that the run began with, and its iterations; empty if with none.
    """

    iteration: int = 0
    crops: int = 0
    seconds: float = 0.0
    window: Window = field(default_factory=Window)
    validation: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    started_from: str = ""

    def __post_init__(self) -> None:
        self.start_clock()

    def start_clock(self) -> None:
        """Count time from now on."""
        self._clock = time.perf_counter()

    def elapsed(self) -> float:
        """Seconds of training up to now."""
        now = time.perf_counter()
        self.seconds, self._clock = self.seconds + now - self._clock, now
        return self.seconds

    def as_state(self) -> dict[str, Any]:
        """As plain values, for the state of a run."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Progress:
        """Take up what :meth:`as_state` gave."""
        return cls(**{**state, "window": Window(**state["window"])})


class Speed:
    """How fast it went since the last line; nothing here is part of the state.

    Args:
        device: that the memory is measured on.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.begin()

    def begin(self) -> None:
        """Start a new line."""
        self._begun = time.perf_counter()
        self._waited = 0.0
        self._paused = 0.0
        self._crops = 0

    def waited(self, seconds: float) -> None:
        """Count time spent waiting for data."""
        self._waited += seconds

    def paused(self, seconds: float) -> None:
        """Leave out time spent on something else than training: validation, outputs, checkpoints."""
        self._paused += seconds

    def add(self, crops: int) -> None:
        """Count crops of all processes."""
        self._crops += crops

    def figures(self, samples: int) -> dict[str, Any]:
        """Speeds since the last line, with crops of so many samples."""
        seconds = max(time.perf_counter() - self._begun - self._paused, 1e-9)
        return {
            "crops_per_second": self._crops / seconds,
            "samples_per_second": self._crops * samples / seconds,
            "data_wait": self._waited / seconds,
            "memory_mib": memory_mib(self.device),
        }


def memory_mib(device: torch.device) -> float:
    """Memory in MiB: the most that PyTorch has held on a GPU; what the process holds now on a CPU."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device) / 2**20)
    pages = Path("/proc/self/statm")
    if pages.is_file():
        return int(pages.read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
