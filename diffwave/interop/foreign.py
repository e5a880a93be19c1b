"""A checkpoint of another project as it was read, and what such projects have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffwave.checkpoint.folder import CheckpointError
from diffwave.config import DiffusionConfig, ModelConfig, SamplingConfig

FAST_BETAS = [1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5]  # DiffWave, appendix B, for BASE
_ROUNDING = 1e-7  # of schedules that were kept in float32


@dataclass(frozen=True, eq=False)
class Foreign:
    """What was read.

    Args:
        path: the file.
        project: where it comes from, for people.
        weights: in this project's names, which are lmnt-com's.
        config: the model, as far as the file tells, and else the project's defaults.
        story: what is known of the training; plain JSON values.
        notes: what was assumed, each in one line.
    """

    path: Path
    project: str
    weights: Mapping[str, Tensor]
    config: ModelConfig
    story: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_file(path: Path, name: str) -> Path:
    """The checkpoint itself, where its folder may be named.

    Raises:
        CheckpointError: if it is not there.
    """
    file = path / name if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(f"{path}: expected a checkpoint, or a folder with {name}; there is none")
    return file


def noise_schedule(betas: Any, source: str) -> DiffusionConfig:
    """Variances as settings: two numbers if they lie on a line, else all of them.

    Raises:
        CheckpointError: if they are no numbers in (0, 1).
    """
    checked = variances(betas, source)
    first, last = float(f"{checked[0]:.6g}"), float(f"{checked[-1]:.6g}")
    if len(checked) > 1 and first <= last:
        line = torch.linspace(first, last, len(checked), dtype=torch.float64)
        if torch.allclose(line, torch.tensor(checked, dtype=torch.float64), rtol=_ROUNDING, atol=0):
            return DiffusionConfig(steps=len(checked), beta_start=first, beta_end=last)
    return DiffusionConfig(schedule="list", steps=len(checked), betas=checked)


def variances(betas: Any, source: str) -> list[float]:
    """A list of numbers in (0, 1).

    Raises:
        CheckpointError: if it is none.
    """
    values = list(betas) if isinstance(betas, list | tuple) else []
    if not values or not all(_is_number(value) and 0 < value < 1 for value in values):
        shown = str(betas)[:60]
        raise CheckpointError(f"{source}: expected a list of numbers inside (0, 1); got {shown}")
    return [float(value) for value in values]


def whole_number(settings: Mapping[str, Any], name: str, default: int, source: str) -> int:
    """A positive whole number of some settings.

    Raises:
        CheckpointError: if it is none.
    """
    value = settings.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 24:
        raise CheckpointError(f"{source}: expected {name} to be a positive whole number; got {str(value)[:60]}")
    return value


def number(settings: Mapping[str, Any], name: str, default: float, source: str) -> float:
    """A finite number of some settings.

    Raises:
        CheckpointError: if it is none.
    """
    value = settings.get(name, default)
    if not _is_number(value):
        raise CheckpointError(f"{source}: expected {name} to be a number; got {str(value)[:60]}")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def original_sampling(betas: list[float]) -> SamplingConfig:
    """As the originals sample by their fast schedule: DDPM, clipped after every step, the network alone."""
    return SamplingConfig(steps=len(betas), fast_betas={str(len(betas)): betas}, clip=True)
