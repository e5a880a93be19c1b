"""Losses by noise level: where on the way from speech to noise a network is good, and where it is not."""

from __future__ import annotations

import torch
from torch import Tensor

from diffwave.diffusion import NoiseSchedule

BINS = 5
"""Equal parts of the noise's amplitude ``sqrt(1 - alpha_bar)``, from 0 to 1."""


def labels() -> list[str]:
    """Range of the noise's amplitude in each bin.

    >>> labels()
    ['0.0-0.2', '0.2-0.4', '0.4-0.6', '0.6-0.8', '0.8-1.0']
    """
    return [f"{i / BINS:.1f}-{(i + 1) / BINS:.1f}" for i in range(BINS)]


def bin_table(schedule: NoiseSchedule) -> Tensor:
    """Bin of each diffusion step, integer, shape ``[T]``."""
    _, sigma = schedule.levels(torch.arange(len(schedule)))
    return (sigma * BINS).long().clamp(max=BINS - 1)


def sum_by_bin(losses: Tensor, bins: Tensor) -> Tensor:
    """Sum and number of the losses in each bin, float64, shape ``[2, BINS]``.

    Args:
        losses: shape ``[B]``.
        bins: of each loss, shape ``[B]``.
    """
    # A product with a 0/1 matrix: unlike index_add_ it adds in the same order every time, also on a GPU.
    inside = (bins.unsqueeze(0) == torch.arange(BINS, device=bins.device).unsqueeze(1)).double()  # [BINS, B]
    # 0 * NaN would spread a loss that is no number to every bin.
    sums = torch.where(inside.bool(), losses.double(), 0.0).sum(dim=1)
    return torch.stack([sums, inside.sum(dim=1)])


def means(sums: list[float], counts: list[float]) -> list[float | None]:
    """Mean of each bin; None where nothing fell into it."""
    return [total / count if count else None for total, count in zip(sums, counts, strict=True)]
