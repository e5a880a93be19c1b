"""What a checkpoint tells of its training: plain values, for people and for the model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import diffwave
from diffwave.checkpoint.provenance import commit
from diffwave.config import OptimizationConfig
from diffwave.corpus.manifest import Utterance, hours
from diffwave.training.distributed import Processes
from diffwave.training.record.progress import Progress


def origin_story(training: list[Utterance], validation: list[Utterance], root: str) -> dict[str, Any]:
    """Which data a run learns from and is validated on, and which code does it: what is known at its start.

    Args:
        training, validation: utterances.
        root: that they lie under; its last part names a corpus without subsets.
    """
    heard = {utterance.speaker for utterance in training}
    unseen = not heard & {utterance.speaker for utterance in validation}
    return {
        "data": ", ".join(sorted({each.subset for each in training} - {""})) or Path(root).name,
        "utterances": len(training),
        "data_hours": round(hours(training), 2),
        "speakers": len(heard),
        "validation_utterances": len(validation),
        "validation_speakers": "unseen" if unseen else "learned from too",
        "commit": commit(),
        "version": diffwave.__version__,
        "torch": torch.__version__,
    }


@dataclass(frozen=True, eq=False)
class Story:
    """A training run in plain values.

    Args:
        origin: from :func:`origin_story`.
        settings: how it learns.
        crop_seconds: length of a crop.
        processes: of the run.
    """

    origin: dict[str, Any]
    settings: OptimizationConfig
    crop_seconds: float
    processes: Processes

    def introduction(self, network: nn.Module) -> list[str]:
        """What begins, in lines for the log."""
        origin, settings, processes = self.origin, self.settings, self.processes
        count = sum(parameter.numel() for parameter in network.parameters())
        return [
            f"data: {origin['utterances']} utterances ({origin['data_hours']:.2f} h) of {origin['speakers']} speakers "
            f"for training, {origin['validation_utterances']} of speakers {origin['validation_speakers']} for "
            "validation",
            f"{count:,} parameters, batch {settings.batch_size}, {settings.precision}, "
            f"{processes.count} x {processes.device.type}",
        ]

    def tell(self, progress: Progress) -> dict[str, Any]:
        """Where it came from, how long and how it has learned, and how well by its own validation."""
        settings = self.settings
        return {
            **self.origin,
            "iterations": progress.iteration,
            "batch_size": settings.batch_size,
            "accumulate": settings.accumulate,
            "crop_seconds": self.crop_seconds,
            "learning_rate": settings.learning_rate,
            "warmup": settings.warmup,
            "decay_iterations": settings.decay_iterations,
            "ema_decay": settings.ema_decay,
            "loss": settings.loss,
            "noise_weighting": settings.noise_weighting,
            "error_weighting": settings.error_weighting,
            "stft_weight": settings.stft_weight,
            "precision": settings.precision,
            "seed": settings.seed,
            "seconds": round(progress.seconds),
            "device": self.processes.device.type,
            "processes": self.processes.count,
            **({"started_from": progress.started_from} if progress.started_from else {}),
            **progress.validation,
            # Figures of other weights would be believed to be of these.
            **({"outputs": progress.outputs} if progress.outputs.get("iteration") == progress.iteration else {}),
        }


def time_left(settings: OptimizationConfig, iteration: int, crops_per_second: float) -> str:
    """How long a run will take from here, in words."""
    left = settings.iterations - iteration
    hours = left * settings.batch_size / crops_per_second / 3600
    return f"{left:,} iterations left: about {hours:.3g} hours at this speed"
