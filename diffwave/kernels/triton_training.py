"""The fused residual stack with gradients: Triton for what lies along the audio, PyTorch for those of the weights.

Letters as in ``diffwave.kernels.layers``, ``K`` taps. Everything that is kept for the backward pass is bfloat16.
Import this module only where Triton is installed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffwave.kernels.triton_backward import launch_gate_backward, launch_input_backward
from diffwave.kernels.triton_forward import launch_forward
from diffwave.kernels.triton_weights import LayerWeights, StackWeights, kernel_layers


class FusedStack(torch.autograd.Function):
    """All layers of a batch, forward and backward; see :meth:`forward`."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        mel: Tensor,
        taps: Tensor,
        lengths: Tensor,
        dilations: tuple[int, ...],
        *weights: Tensor,
    ) -> Tensor:
        """Run the layers and keep what the gradients need.

        Args:
            ctx: of autograd.
            x: bfloat16, shape ``[B, P, C]``.
            mel: bfloat16, padded by :func:`~diffwave.kernels.triton_weights.pad_bands`, shape ``[B, P, M]``.
            taps: what the shifts add, shape ``[L, B, K, 2, C]``.
            lengths: where each example ends, int32, shape ``[B]``.
            dilations: of the layers.
            weights: of :meth:`StackWeights.tensors <diffwave.kernels.triton_weights.StackWeights.tensors>`.

        Returns:
            The sum of skips, bfloat16, shape ``[B, P, C]``.
        """
        total = torch.empty_like(x)
        inputs, gates = [x], []
        layers = kernel_layers(StackWeights(dilations, *weights))
        for index, layer in enumerate(layers):
            following = torch.empty_like(x)
            kept = x.new_empty(*x.shape[:2], 2, x.shape[2])
            launch_forward(
                inputs[-1], mel, taps[index], lengths, layer, following, total, kept, index == 0, mel.shape[-1]
            )
            inputs.append(following)
            gates.append(kept)
        ctx.layers = layers
        ctx.save_for_backward(mel, lengths, *inputs[:-1], *gates)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, mel, taps and the weights."""
        mel, lengths, *kept = ctx.saved_tensors
        layers: list[LayerWeights] = ctx.layers
        inputs, gates = kept[: len(layers)], kept[len(layers) :]
        total_gradient = gradients[0].to(torch.bfloat16).contiguous()
        inside = tap_windows(lengths, layers, mel.shape[1])
        following = torch.zeros_like(inputs[0])  # nothing reads what the last layer passes on
        mel_gradient = torch.zeros(mel.shape, device=mel.device) if ctx.needs_input_grad[1] else None
        found = []
        # Products here choose their types themselves, also where autocast is on.
        with torch.autocast(mel.device.type, enabled=False):
            for index in reversed(range(len(layers))):
                layer, x = layers[index], inputs[index]
                gates_gradient, gated, x_gradient = (torch.empty_like(value) for value in (gates[index], x, x))
                launch_gate_backward(following, total_gradient, gates[index], layer, gates_gradient, gated)
                launch_input_backward(following, gates_gradient, lengths, layer, x_gradient)
                flat = gates_gradient.flatten(2)  # [B, P, 2C]
                dilated = dilated_gradient(x, flat, lengths, layer)
                sums = halves(torch.bmm(inside[index], flat).float())  # [B, K + 1, 2, C]
                found.append(
                    (
                        dilated,
                        halves(over_examples(mel, flat)),
                        sums,
                        *output_gradient(gated, following, total_gradient),
                    )
                )
                if mel_gradient is not None:
                    mel_gradient += flat @ layer.condition.flatten(1).T
                following = x_gradient
        dilated, condition, sums, output, output_bias = (torch.stack(kind) for kind in zip(*found[::-1], strict=True))
        mel_gradient = None if mel_gradient is None else mel_gradient.to(mel.dtype)
        bias = sums[:, :, -1].sum(1)  # [L, 2, C]
        return following, mel_gradient, sums[:, :, :-1], None, None, dilated, condition, output, bias, output_bias


def tap_windows(lengths: Tensor, layers: Sequence[LayerWeights], positions: int) -> Tensor:
    """Where each tap lies inside its example, and ones at last (for the bias); bfloat16, ``[L, B, K + 1, P]``."""
    taps = layers[0].dilated.shape[0]
    offset = torch.tensor([[(tap - taps // 2) * layer.dilation for tap in range(taps)] for layer in layers])
    offset = offset.to(lengths.device)[:, None, :, None]  # [L, 1, K, 1]
    source = torch.arange(positions, device=lengths.device) + offset  # [L, 1, K, P]
    inside = ((source >= 0) & (source < lengths[:, None, None])).to(torch.bfloat16)  # [L, B, K, P]
    return torch.cat([inside, torch.ones_like(inside[:, :, :1])], dim=2)


def dilated_gradient(x: Tensor, gates_gradient: Tensor, lengths: Tensor, layer: LayerWeights) -> Tensor:
    """Gradient of the convolution's weights, ``[C, K, 2, C]``; what the shift adds to it goes through the taps."""
    positions, taps = x.shape[1], layer.dilated.shape[0]
    inside = torch.arange(positions, device=x.device) < lengths[:, None]  # [B, P]
    x = x * inside.unsqueeze(-1)
    found = []
    for tap in range(taps):
        offset = (tap - taps // 2) * layer.dilation
        # Positions whose tap lies inside; none where the dilation is longer than the utterance.
        low = min(max(0, -offset), positions)
        high = max(low, min(positions, positions - offset))
        found.append(over_examples(x[:, low + offset : high + offset], gates_gradient[:, low:high]))
    return halves(torch.stack(found, dim=1))


def output_gradient(gated: Tensor, following_gradient: Tensor, total_gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the output projection's weights and bias, ``[C, 2, C]`` and ``[2, C]``."""
    half = math.sqrt(0.5)
    weight = [over_examples(gated, following_gradient) * half, over_examples(gated, total_gradient)]
    bias = [column_sums(following_gradient) * half, column_sums(total_gradient)]
    return torch.stack(weight, dim=1), torch.stack(bias)


def over_examples(left: Tensor, right: Tensor) -> Tensor:
    """Sum over examples and positions of the outer products of ``[B, P, I]`` and ``[B, P, J]``, float32 ``[I, J]``."""
    return torch.bmm(left.transpose(1, 2), right).float().sum(0)


def halves(value: Tensor) -> Tensor:
    """Split a last dimension of ``2C`` into ``[2, C]``."""
    return value.view(*value.shape[:-1], 2, value.shape[-1] // 2)


def column_sums(value: Tensor) -> Tensor:
    """Sum of ``[B, P, C]`` over examples and positions, float32 ``[C]``."""
    return value.sum((0, 1), dtype=torch.float32)
