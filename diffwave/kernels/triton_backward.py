"""Gradients of the fused residual layer: through output projection and gate, then through the convolution.

Letters as in ``diffwave.kernels.triton_forward``. The forward pass keeps each layer's input and its gate and signal
before their nonlinearities, ``3 C`` numbers of bfloat16 a position. Gradients of weights are plain matrix products
and left to PyTorch (``diffwave.kernels.triton_training``).

Import this module only where Triton is installed.
"""

# No "from __future__ import annotations": Triton's interpreter needs ``tl.constexpr`` itself, not its name.
# ruff: noqa: N803

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from diffwave.kernels.triton_forward import SQRT_HALF, device_of, gate_and_signal, operand, rounded
from diffwave.kernels.triton_tiles import GATE_BACKWARD, Tile, chunk, tile_for, width
from diffwave.kernels.triton_weights import LayerWeights


@triton.jit(do_not_specialize=["rows"])  # type: ignore[untyped-decorator]
def gate_backward(  # type: ignore[no-untyped-def]
    following_gradient,  # of the next layer's x, [B * P, C] bfloat16
    total_gradient,  # of the sum of skips, [B * P, C] bfloat16
    gates,  # gate and signal before their nonlinearities, [B * P, 2, C] bfloat16
    output_weight,  # [C, 2, C] bfloat16
    gates_gradient,  # out: [B * P, 2, C] bfloat16
    gated,  # out: what entered the output projection, [B * P, C] bfloat16
    rows,
    C: tl.constexpr,
    WIDTH: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
    OPERAND: tl.constexpr,
):
    """Gradient of gate and signal; positions do not meet here, so examples are one long row."""
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    within = row < rows
    column = tl.arange(0, WIDTH)
    real = column < C
    deep = tl.arange(0, CHUNK)

    gradient = tl.zeros((BLOCK, WIDTH), tl.float32)
    for step in tl.range(0, C // CHUNK, num_stages=STAGES):
        channel = step * CHUNK + deep
        tile = tl.load(following_gradient + row[:, None] * C + channel[None, :], mask=within[:, None], other=0.0)
        weight = tl.load(output_weight + column[:, None] * (2 * C) + channel[None, :], mask=real[:, None], other=0.0)
        gradient = tl.dot(tile.to(OPERAND), tl.trans(weight).to(OPERAND), gradient)
    gradient *= SQRT_HALF
    for step in tl.range(0, C // CHUNK, num_stages=STAGES):
        channel = step * CHUNK + deep
        tile = tl.load(total_gradient + row[:, None] * C + channel[None, :], mask=within[:, None], other=0.0)
        weight = output_weight + C + column[:, None] * (2 * C) + channel[None, :]
        weight = tl.load(weight, mask=real[:, None], other=0.0)
        gradient = tl.dot(tile.to(OPERAND), tl.trans(weight).to(OPERAND), gradient)

    both = within[:, None] & real[None, :]
    halves = row[:, None] * (2 * C) + column[None, :]
    gate = tl.load(gates + halves, mask=both, other=0.0).to(tl.float32)
    signal = tl.load(gates + halves + C, mask=both, other=0.0).to(tl.float32)
    opened, heard = gate_and_signal(gate, signal)
    tl.store(gated + row[:, None] * C + column[None, :], rounded(opened * heard, OPERAND), mask=both)
    of_gate = gradient * heard * opened * (1.0 - opened)
    of_signal = gradient * opened * (1.0 - heard * heard)
    tl.store(gates_gradient + halves, rounded(of_gate, OPERAND), mask=both)
    tl.store(gates_gradient + halves + C, rounded(of_signal, OPERAND), mask=both)


@triton.jit(do_not_specialize=["positions", "dilation"])  # type: ignore[untyped-decorator]
def input_backward(  # type: ignore[no-untyped-def]
    following_gradient,  # [B, P, C] bfloat16
    gates_gradient,  # [B, P, 2, C] bfloat16
    lengths,  # [B] int32
    dilated_weight,  # [K, C, 2, C] bfloat16
    x_gradient,  # out: [B, P, C] bfloat16
    positions,
    dilation,
    C: tl.constexpr,
    TAPS: tl.constexpr,
    WIDTH: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
    OPERAND: tl.constexpr,
):
    """Gradient of a layer's input: the convolution turned round, and the residual path."""
    example = tl.program_id(1).to(tl.int64)
    start = example * positions
    length = tl.load(lengths + example)
    position = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column = tl.arange(0, WIDTH)
    real = column < C
    deep = tl.arange(0, CHUNK)

    gradient = tl.zeros((BLOCK, WIDTH), tl.float32)
    for step in tl.range(0, TAPS * (2 * C // CHUNK), num_stages=STAGES):
        tap = step // (2 * C // CHUNK)
        source = position - (tap - TAPS // 2) * dilation
        inside = (source >= 0) & (source < positions)
        channel = (step % (2 * C // CHUNK)) * CHUNK + deep
        tile = gates_gradient + start * (2 * C) + source[:, None] * (2 * C) + channel[None, :]
        tile = tl.load(tile, mask=inside[:, None], other=0.0)
        weight = dilated_weight + (tap * C + column)[:, None] * (2 * C) + channel[None, :]
        weight = tl.load(weight, mask=real[:, None], other=0.0)
        gradient = tl.dot(tile.to(OPERAND), tl.trans(weight).to(OPERAND), gradient)

    # The convolution read zeros beyond the end of the example; the residual path did not.
    gradient = tl.where((position < length)[:, None], gradient, 0.0)
    here = start * C + position[:, None] * C + column[None, :]
    both = (position < positions)[:, None] & real[None, :]
    gradient += tl.load(following_gradient + here, mask=both, other=0.0).to(tl.float32) * SQRT_HALF
    tl.store(x_gradient + here, rounded(gradient, OPERAND), mask=both)


def backward_constants(channels: int, tile: Tile) -> dict[str, Any]:
    """What both kernels are compiled for, apart from the number of taps."""
    return {
        "C": channels,
        "WIDTH": width(channels),
        "CHUNK": chunk(channels),
        "BLOCK": tile.block,
        "STAGES": tile.stages,
    }


def launch_gate_backward(
    following_gradient: Tensor,
    total_gradient: Tensor,
    gates: Tensor,
    weights: LayerWeights,
    gates_gradient: Tensor,
    gated: Tensor,
) -> None:
    """Run :func:`gate_backward` on the tensors that it names."""
    batch, positions, channels = gated.shape
    tile = GATE_BACKWARD
    with device_of(gated):
        gate_backward[(triton.cdiv(batch * positions, tile.block),)](
            following_gradient,
            total_gradient,
            gates,
            weights.output,
            gates_gradient,
            gated,
            batch * positions,
            **backward_constants(channels, tile),
            OPERAND=operand(gated),
            num_warps=tile.warps,
            maxnreg=tile.registers,
        )


def launch_input_backward(
    following_gradient: Tensor, gates_gradient: Tensor, lengths: Tensor, weights: LayerWeights, x_gradient: Tensor
) -> None:
    """Run :func:`input_backward` on the tensors that it names."""
    batch, positions, channels = x_gradient.shape
    tile = tile_for(channels)
    with device_of(x_gradient):
        input_backward[(triton.cdiv(positions, tile.block), batch)](
            following_gradient,
            gates_gradient,
            lengths,
            weights.dilated,
            x_gradient,
            positions,
            weights.dilation,
            TAPS=weights.dilated.shape[0],
            **backward_constants(channels, tile),
            OPERAND=operand(x_gradient),
            num_warps=tile.warps,
            maxnreg=tile.registers,
        )
