"""What is written down when a loss stops being a number."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffwave.files import write_text
from diffwave.training.crops import CropDataset, Crops
from diffwave.training.learner import IterationLosses, Learner


def crops_of(dataset: CropDataset, micro_batches: list[Crops], step: IterationLosses) -> list[dict[str, Any]]:
    """Where each crop of this process comes from, its diffusion step and its loss."""
    numbers = torch.cat([crops.number for crops in micro_batches]).tolist()
    rows = []
    for number, at, loss in zip(numbers, step.steps.tolist(), step.losses.tolist(), strict=True):
        utterance, start = dataset.locate(number)
        rows.append(
            {
                "crop": number,
                "utterance": str(utterance.path),
                "speaker": utterance.speaker,
                "first_sample": start,
                "samples": dataset.crop,
                "diffusion_step": int(at),
                "loss": _plain(loss),
            }
        )
    return rows


def diagnose(learner: Learner, crops: list[dict[str, Any]], recent: list[float]) -> dict[str, Any]:
    """Everything that is known: settings, crops, weights and gradients of every parameter.

    Args:
        learner: after the backward pass, before the update.
        crops: of all processes, as :func:`crops_of` gives them.
        recent: losses of the iterations before.
    """
    named = dict(learner.network.named_parameters())
    return {
        "learning_rate": learner.optimizer.param_groups[0]["lr"],
        "precision": learner.settings.precision,
        "recent_losses": recent,
        "crops": crops,
        "gradient_norms": {name: _norm(value.grad) for name, value in named.items()},
        "weight_norms": {name: _norm(value) for name, value in named.items()},
        "not_finite": {
            "weights": [name for name, value in named.items() if not _finite(value)],
            "gradients": [name for name, value in named.items() if not _finite(value.grad)],
        },
    }


def write_diagnosis(run_dir: Path, iteration: int, content: dict[str, Any]) -> Path:
    """Write ``diagnosis-<iteration>.json`` and return its path."""
    path = run_dir / f"diagnosis-{iteration:08d}.json"
    write_text(path, json.dumps(content, indent=1) + "\n")
    return path


def _finite(value: Tensor | None) -> bool:
    return value is None or bool(torch.isfinite(value).all())


def _norm(value: Tensor | None) -> float | str | None:
    return None if value is None else _plain(float(value.detach().norm()))


def _plain(value: float) -> float | str:
    """JSON has no NaN: as text."""
    return value if math.isfinite(value) else str(value)
