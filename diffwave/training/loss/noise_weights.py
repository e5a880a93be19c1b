"""Weights of the loss by noise level: which part of the way from noise to speech the network learns best.

With ``SNR = alpha_bar / (1 - alpha_bar)``, the share of signal in the domain of the diffusion, where it has about unit
variance. Weights apply to training alone; validation losses stay as they are, and comparable.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffwave.diffusion import DiffusionProcess

GAMMA = 5.0
"""Largest SNR that counts, of Hang et al. 2023, section 3.4."""


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
