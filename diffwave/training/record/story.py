"""What a checkpoint tells of its training: plain values, for people and for the model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

import diffwave
from diffwave.checkpoint.provenance import commit
from diffwave.config import TrainingConfig
from diffwave.corpus.manifest import Utterance, hours
from diffwave.training.distributed import Processes
from diffwave.training.record.progress import Progress


def origin_story(training: list[Utterance], validation: list[Utterance], config: TrainingConfig) -> dict[str, Any]:
    """Which data a run learns from and is validated on, and which code does it: what is known at its start."""
    return {
        "data": ", ".join(sorted({each.subset for each in training} - {""})) or Path(config.data.root).name,
        "utterances": len(training),
        "data_hours": round(hours(training), 2),
        "speakers": len({utterance.speaker for utterance in training}),
        "validation_utterances": len(validation),
        "validation_speakers": "unseen" if _unseen(training, validation) else "learned from too",
        "commit": commit(),
        "version": diffwave.__version__,
        "torch": torch.__version__,
    }


def training_story(config: TrainingConfig, progress: Progress, processes: Processes) -> dict[str, Any]:
    """How long and how a run has learned, and how well by its own validation."""
    settings, mel = config.train, config.model.mel
    return {
        "iterations": progress.iteration,
        "batch_size": settings.batch_size,
        "accumulate": settings.accumulate,
        "crop_seconds": config.data.crop_frames * mel.hop_length / mel.sample_rate,
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
        "device": processes.device.type,
        "processes": processes.count,
        **({"started_from": progress.started_from} if progress.started_from else {}),
        **progress.validation,
        # Figures of other weights would be believed to be of these.
        **({"outputs": progress.outputs} if progress.outputs.get("iteration") == progress.iteration else {}),
    }


def introduction(origin: dict[str, Any], network: nn.Module, config: TrainingConfig, processes: Processes) -> list[str]:
    """What a run begins with, in lines for its log."""
    count = sum(parameter.numel() for parameter in network.parameters())
    settings = config.train
    return [
        f"data: {origin['utterances']} utterances ({origin['data_hours']:.2f} h) of {origin['speakers']} speakers for "
        f"training, {origin['validation_utterances']} of speakers {origin['validation_speakers']} for validation",
        f"{count:,} parameters, batch {settings.batch_size}, {settings.precision}, "
        f"{processes.count} x {processes.device.type}",
    ]


def _unseen(training: list[Utterance], validation: list[Utterance]) -> bool:
    """Whether nobody speaks on both sides."""
    return not {utterance.speaker for utterance in training} & {utterance.speaker for utterance in validation}
