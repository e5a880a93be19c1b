"""From one sample rate to another, the same whether a signal is there whole or in windows.

A sample of the result is a sum over the source's around it, weighted by where it lies between them in the whole signal
(Smith & Gossett 1984, "A flexible sampling-rate conversion method"): so windows meet without a seam. Libraries resample
from the start of what they are given, which is right for files, and wrong here.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

# Zero crossings of the sinc on each side, and Kaiser's beta: level up to .93 of the lower rate's band, -70 dB beyond.
_CROSSINGS, _BETA, _ROLLOFF = 64, 7.0, 0.967
# Samples of the result that one product makes, about.
_WIDTH = 160


@dataclass(frozen=True, eq=False)
class _Plan:
    """Weights of a pair of rates.

    Args:
        period: samples of the result after which the weights come again.
        source_period: samples of the source that are as long.
        starts: where in a period's source each product begins, shape ``[S]``.
        weights: of each product, shape ``[S, K, W]``; ``S W >= period``.
    """

    period: int
    source_period: int
    starts: Tensor
    weights: Tensor


@functools.lru_cache(maxsize=16)
def _plan(source: int, target: int, device: torch.device) -> _Plan:
    divisor = math.gcd(source, target)
    repeats = -(-_WIDTH * divisor // target)
    period, source_period = target // divisor * repeats, source // divisor * repeats
    products = -(-period // (2 * _WIDTH))
    width = -(-period // products)
    ratio = source_period / period
    reach = reach_of(source, target)
    positions = torch.arange(products * width, dtype=torch.float64).view(products, width) * ratio
    starts = positions[:, 0].floor() - reach
    taps = torch.arange(math.ceil((width - 1) * ratio) + 2 * reach + 1, dtype=torch.float64)
    distance = starts[:, None, None] + taps[:, None] - positions[:, None, :]  # [S, K, W], in samples of the source
    cutoff = _ROLLOFF * min(1.0, 1 / ratio)
    window = torch.special.i0(_BETA * (1 - (distance * cutoff / _CROSSINGS).square()).clamp_min(0).sqrt())
    inside = (distance * cutoff).abs() <= _CROSSINGS
    weights = cutoff * torch.special.sinc(cutoff * distance) * window * inside / torch.special.i0(torch.tensor(_BETA))
    return _Plan(period, source_period, starts.long().to(device), weights.float().to(device))


def reach_of(source: int, target: int) -> int:
    """Samples of the source on each side of one of the result that can change it."""
    return math.ceil(_CROSSINGS / _ROLLOFF * max(1.0, source / target))


def resample(wav: Tensor, source: int, target: int, *, first: int, begin: int, end: int) -> Tensor:
    """A stretch of a signal at another rate.

    Args:
        wav: at the rate ``source``, shape ``[B, N]``; beyond its ends the signal is taken to be zero.
        source, target: in Hz, whole numbers.
        first: position of the first sample of ``wav`` in the signal.
        begin, end: positions at the rate ``target`` of what is wanted.

    Returns:
        Shape ``[B, end - begin]``.
    """
    if source == target:
        # A negative padding cuts.
        return F.pad(wav, (first - begin, end - first - wav.shape[1]))
    plan = _plan(source, target, wav.device)
    count = plan.weights.shape[1]
    low, high = begin // plan.period, -(-end // plan.period)
    periods = torch.arange(low, high, device=wav.device)
    starts = periods * plan.source_period + plan.starts[:, None] - first  # [S, P]
    least = int(low * plan.source_period) - first - reach_of(source, target) - 1
    most = int(high * plan.source_period) - first + count
    padded = F.pad(wav, (max(0, -least), max(0, most - wav.shape[1])))
    index = starts[..., None] + max(0, -least) + torch.arange(count, device=wav.device)  # [S, P, K]
    if wav.device.type == "cpu":
        # One by one: larger products round otherwise.
        made = torch.stack([torch.bmm(row[index], plan.weights) for row in padded])
    else:
        made = padded[:, index] @ plan.weights
    whole = made.transpose(1, 2).reshape(len(wav), high - low, -1)[:, :, : plan.period].reshape(len(wav), -1)
    return whole[:, begin - low * plan.period : end - low * plan.period]
