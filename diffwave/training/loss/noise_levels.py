"""Losses by noise level: where on the way from speech to noise a network is good, and which part it learns best.

Bins are for people: what is told of a run. Weights are of the loss in training, with ``SNR = alpha_bar /
(1 - alpha_bar)``, the share of signal in the domain of the diffusion, where it has about unit variance; validation
losses stay without them, and comparable.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffwave.diffusion import DiffusionProcess, NoiseSchedule

BINS = 5
"""Equal parts of the noise's amplitude ``sqrt(1 - alpha_bar)``, from 0 to 1."""

GAMMA = 5.0
"""Largest SNR that counts, of Hang et al. 2023, section 3.4."""


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


def step_weights(kind: str, process: DiffusionProcess, loss: str = "l2") -> Tensor:
    """Weight of each diffusion step, float32, shape ``[T]``, 1 on average.

    Args:
        kind: ``none`` (all equal), ``min_snr`` or ``logit_normal``.
        process: the schedule, and what the network predicts.
        loss: ``l1`` or ``l2``; the weights of Hang et al. are those of squares, ``l1`` takes their roots.
    """
    if kind == "none":
        return torch.ones(len(process.schedule))
    if kind == "logit_normal":
        weights = logit_normal_density(process)
    else:
        weights = min_snr(process)
        weights = weights.sqrt() if loss == "l1" else weights
    # Of the loss's usual size, so that the gradient's limit means what it did.
    return (weights / weights.mean()).float()


def min_snr(process: DiffusionProcess, gamma: float = GAMMA) -> Tensor:
    """Min-SNR weights (Hang et al. 2023, section 3.4), float64, ``[T]``.

    A squared error of the clean signal weighs ``min(SNR, gamma)``. The same weight on another parameterization's error
    follows from what its unit is worth: the clean estimate is off by ``1 / sqrt(SNR)`` of an error of the noise, by
    ``1 / sqrt(SNR + 1)`` of one of the velocity.

    Args:
        process: the schedule, and what the network predicts.
        gamma: largest SNR that counts.
    """
    alpha_bars = process.schedule.alpha_bars
    snr = alpha_bars / (1 - alpha_bars)
    worth = {"clean": torch.ones_like(snr), "noise": snr, "velocity": snr + 1}[process.parameterization]
    return snr.clamp(max=gamma) / worth


def logit_normal_density(process: DiffusionProcess) -> Tensor:
    """Density of each step where ``ln(sigma / signal)`` is standard normal, up to a factor, float64, ``[T]``.

    That is drawing the steps from the logit-normal distribution of Stable Diffusion 3 (Esser et al. 2024, section
    3.1, m = 0 and s = 1): with ``t = sigma / (signal + sigma)``, ``logit(t) = ln(sigma / signal)``. Steps are drawn
    uniformly all the same and weighted, so that losses in the history mean what they did.
    """
    schedule = process.schedule
    alpha_bars = schedule.alpha_bars
    logit = ((1 - alpha_bars) / alpha_bars).log() / 2
    # A step stands for the part of the axis around it; a schedule of one step for all of it.
    width = torch.gradient(logit)[0] if len(schedule) > 1 else torch.ones_like(logit)
    return (-logit.square() / 2).exp() / math.sqrt(2 * math.pi) * width
