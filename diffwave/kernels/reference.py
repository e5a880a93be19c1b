"""Definition of the residual layers' arithmetic, in plain PyTorch.

A faster implementation is checked against this one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwave.kernels.layers import ResidualLayer, Stack

# Projections of the condition are kept between calls up to this size: about a minute of the packaged model, 4 s
# of BASE. Faster or even wherever it was measured (docs/benchmarks/synthesis.md).
CACHE_BYTES = 1 << 30


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
    padding: str = "zeros",
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
        padding: ``zeros``, or ``reflect`` for the mirror image of each example beyond its ends.

    Returns:
        The residual stream ``(x + residual) / sqrt(2)`` and the skip connection, both ``[B, C, P]``.
    """
    margin = dilation * (dilated_weight.shape[-1] // 2)
    shifted = x + shift if mask is None else (x + shift) * mask
    if padding == "reflect":
        shifted, margin = mirrored(shifted, margin, mask), 0
    y = F.conv1d(shifted, dilated_weight, dilated_bias, padding=margin, dilation=dilation)
    gate, signal = (y + condition).chunk(2, dim=1)
    y = F.conv1d(torch.sigmoid(gate) * torch.tanh(signal), output_weight, output_bias)
    residual, skip = y.chunk(2, dim=1)
    return (x + residual) * math.sqrt(0.5), skip


@dataclass(frozen=True)
class Reference:
    """The residual layers one after another through :func:`residual_layer`.

    Args:
        cache_bytes: projections of the mel that would take more memory are made anew in every call.
    """

    cache_bytes: int = CACHE_BYTES
    name: str = "reference"

    def stack(self, layers: Sequence[ResidualLayer], mel: Tensor, mask: Tensor | None, calls: int) -> Stack:
        """See :class:`~diffwave.kernels.layers.Backend`."""
        keep = calls > 1 and projection_bytes(layers, mel) <= self.cache_bytes
        kept = [project(layer, mel) for layer in layers] if keep else None

        def run(x: Tensor, shifts: Tensor) -> Tensor:
            total: Tensor | None = None
            x = x.contiguous()  # channels-last would go on from layer to layer, where convolutions are slower
            for index, layer in enumerate(layers):
                condition = project(layer, mel) if kept is None else kept[index]
                x, skip = residual_layer(
                    x,
                    shifts[:, index].unsqueeze(-1),
                    condition,
                    layer.dilated_weight,
                    layer.dilated_bias,
                    layer.output_weight,
                    layer.output_bias,
                    layer.dilation,
                    mask,
                    layer.padding,
                )
                total = skip if total is None else total + skip
            assert total is not None
            return total

        return run


def mirrored(x: Tensor, margin: int, mask: Tensor | None) -> Tensor:
    """Each example continued by its mirror image, ``[B, C, P] -> [B, C, P + 2 margin]``.

    As ``F.pad(mode="reflect")``, but an example ends where its mask says, and one that is shorter than the margin
    goes on with samples of its own.

    Args:
        x: the signals.
        margin: positions on each side.
        mask: see :func:`residual_layer`.
    """
    positions = torch.arange(-margin, x.shape[-1] + margin, device=x.device).abs()  # [P + 2 margin]
    if mask is None:
        return x[..., torch.minimum(positions, 2 * (x.shape[-1] - 1) - positions).clamp_min(0)]
    last = (mask[:, 0] > 0).sum(dim=-1, keepdim=True) - 1  # [B, 1]
    index = torch.minimum(positions, 2 * last - positions).clamp_min(0)  # [B, P + 2 margin]
    return x.gather(2, index.unsqueeze(1).expand(-1, x.shape[1], -1))


def project(layer: ResidualLayer, mel: Tensor) -> Tensor:
    """A layer's projection of the upsampled mel ``[B, M, P]``, shape ``[B, 2C, P]``."""
    return F.conv1d(mel, layer.condition_weight, layer.condition_bias)


def projection_bytes(layers: Sequence[ResidualLayer], mel: Tensor) -> int:
    """Memory that all projections of a mel take: ``2 C L`` numbers for each position."""
    examples, _, positions = mel.shape
    return examples * positions * sum(layer.condition_bias.numel() for layer in layers) * mel.element_size()
