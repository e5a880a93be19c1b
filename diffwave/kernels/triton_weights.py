"""Weights of the residual layers in the order in which the Triton kernels read them; plain PyTorch.

Letters as in ``diffwave.kernels.layers``, ``K`` taps of the convolution. Two halves, gate and signal or residual and
skip, are a dimension of size 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwave.kernels.layers import ResidualLayer

# Mels are padded to a multiple of this many bands, so that a product takes 32 at once: 80 bands become 96.
MEL_MULTIPLE = 32


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """One layer as :func:`diffwave.kernels.triton_forward.layer_forward` reads it.

    Args:
        dilated: bfloat16, shape ``[K, C, 2, C]``: tap, input channel, half, output channel.
        condition: bfloat16, shape ``[M, 2, C]``.
        output: bfloat16, shape ``[C, 2, C]``.
        bias, output_bias: float32, shape ``[2, C]``.
        dilation: of the convolution.
    """

    dilated: Tensor
    condition: Tensor
    output: Tensor
    bias: Tensor
    output_bias: Tensor
    dilation: int


@dataclass(frozen=True, eq=False)
class StackWeights:
    """All layers in float32 and in one tensor per kind; made by differentiable operations.

    Args:
        dilations: of the layers.
        dilated: input channel first, shape ``[L, C, K, 2, C]``.
        condition: shape ``[L, M, 2, C]``, ``M`` padded with zeros to a multiple of 32.
        output: shape ``[L, C, 2, C]``.
        bias: of the convolution and the condition, which are only ever added, shape ``[L, 2, C]``.
        output_bias: shape ``[L, 2, C]``.
    """

    dilations: tuple[int, ...]
    dilated: Tensor
    condition: Tensor
    output: Tensor
    bias: Tensor
    output_bias: Tensor

    @classmethod
    def of(cls, layers: Sequence[ResidualLayer]) -> StackWeights:
        """Gather the layers' weights; gradients flow back to them."""
        dilated = torch.stack([layer.dilated_weight for layer in layers]).float()  # [L, 2C, C, K]
        condition = torch.stack([layer.condition_weight for layer in layers]).float()  # [L, 2C, M, 1]
        output = torch.stack([layer.output_weight for layer in layers]).float()  # [L, 2C, C, 1]
        bias = torch.stack([layer.dilated_bias + layer.condition_bias for layer in layers]).float()  # [L, 2C]
        output_bias = torch.stack([layer.output_bias for layer in layers]).float()  # [L, 2C]
        condition = pad_bands(condition[..., 0])  # [L, 2C, M]
        count, _, channels, taps = dilated.shape
        return cls(
            tuple(layer.dilation for layer in layers),
            dilated.view(count, 2, channels, channels, taps).permute(0, 3, 4, 1, 2).contiguous(),
            condition.view(count, 2, channels, -1).permute(0, 3, 1, 2),
            output.view(count, 2, channels, channels).permute(0, 3, 1, 2),
            bias.view(count, 2, channels),
            output_bias.view(count, 2, channels),
        )

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """All tensors, in the order of the arguments, which is that of ``StackWeights(dilations, *tensors)``."""
        return self.dilated, self.condition, self.output, self.bias, self.output_bias

    def taps(self, shifts: Tensor) -> Tensor:
        """What a shift adds to gate and signal at each tap.

        Args:
            shifts: shape ``[B, L, C]``.

        Returns:
            Float32, shape ``[L, B, K, 2, C]``.
        """
        moved = torch.bmm(shifts.float().transpose(0, 1), self.dilated.flatten(2))  # [L, B, K * 2 * C]
        return moved.view(*moved.shape[:2], *self.dilated.shape[2:])


def kernel_layers(weights: StackWeights) -> list[LayerWeights]:
    """Cut a stack into layers, with the factors of matrix products in bfloat16."""
    products = (weights.dilated.transpose(1, 2), weights.condition, weights.output)
    dilated, condition, output = (value.detach().to(torch.bfloat16).contiguous() for value in products)
    bias, output_bias = weights.bias.detach().contiguous(), weights.output_bias.detach().contiguous()
    return [
        LayerWeights(dilated[i], condition[i], output[i], bias[i], output_bias[i], dilation)
        for i, dilation in enumerate(weights.dilations)
    ]


def pad_bands(mel: Tensor) -> Tensor:
    """Append zero bands to the last dimension until there is a multiple of :data:`MEL_MULTIPLE`."""
    return F.pad(mel, (0, -mel.shape[-1] % MEL_MULTIPLE))
