"""Definition of the residual layer's arithmetic, in plain PyTorch.

A faster implementation has the same signature and is checked against this one.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def residual_layer(
    x: Tensor,
    shift: Tensor,
    condition: Tensor,
    dilated_weight: Tensor,
    dilated_bias: Tensor,
    output_weight: Tensor,
    output_bias: Tensor,
    dilation: int,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One residual layer of DiffWave (figure 2a).

    Args:
        x: residual stream, shape ``[B, C, P]`` (``P`` positions, the audio samples where nothing is squeezed).
        shift: projected step embedding, shape ``[B, C, 1]``.
        condition: projected mel, shape ``[B, 2C, P]``.
        dilated_weight, dilated_bias: bidirectional dilated convolution, shapes ``[2C, C, K]`` (``K`` odd), ``[2C]``.
        output_weight, output_bias: projection to residual and skip, shapes ``[2C, C, 1]``, ``[2C]``.
        dilation: of the convolution.
        mask: 1 inside and 0 beyond the end of each example, shape ``[B, 1, P]``; makes a padded example equal to
            one that ends there, where the convolution sees zeros.

    Returns:
        The residual stream ``(x + residual) / sqrt(2)`` and the skip connection, both ``[B, C, P]``.
    """
    padding = dilation * (dilated_weight.shape[-1] // 2)
    shifted = x + shift if mask is None else (x + shift) * mask
    y = F.conv1d(shifted, dilated_weight, dilated_bias, padding=padding, dilation=dilation)
    gate, signal = (y + condition).chunk(2, dim=1)
    y = F.conv1d(torch.sigmoid(gate) * torch.tanh(signal), output_weight, output_bias)
    residual, skip = y.chunk(2, dim=1)
    return (x + residual) * math.sqrt(0.5), skip
