"""One residual layer with its weights held in shared memory, for up to 64 channels and projections of the mel kept.

Letters as in ``diffwave.kernels.layers``. The kernel of ``diffwave.kernels.triton_forward`` reads the weights anew for
every tile, at 64 channels as many bytes as activations. Here as many programs start as the GPU has multiprocessors;
each loads the weights once and walks over tiles, the next tile's copy running under the products of this one. The
middle tap's tile serves the residual path too.

Import this module only where Triton is installed.
"""

# No "from __future__ import annotations": Triton's interpreter needs ``tl.constexpr`` itself, not its name.
# ruff: noqa: N803

from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffwave.kernels.triton_forward import SQRT_HALF, device_of, gate_and_signal, operand, rounded, tap_constant
from diffwave.kernels.triton_tiles import RESIDENT, resident_shared_bytes, width
from diffwave.kernels.triton_weights import LayerWeights


@triton.jit(do_not_specialize=["positions", "dilation", "per_example", "tiles"])  # type: ignore[untyped-decorator]
def resident_forward(  # type: ignore[no-untyped-def]
    x,  # [B, P, C] bfloat16
    projection,  # of the mel, without bias, [B, P, 2, C] bfloat16
    taps,  # [B, 3, 2, C] float32
    lengths,  # [B] int32: where each example ends
    dilated_weight,  # [3, C, 2, C] bfloat16
    output_weight,  # [C, 2, C] bfloat16
    bias,  # [2, C] float32
    output_bias,  # [2, C] float32
    following,  # out: the next layer's x where an example has not ended, [B, P, C] bfloat16; never x itself
    total,  # in and out: sum of the skip connections, [B, P, C] bfloat16
    positions,
    dilation,
    per_example,  # tiles of an example
    tiles,  # of all examples
    C: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
    FIRST: tl.constexpr,
    OPERAND: tl.constexpr,
):
    """See the module; the definition is :func:`diffwave.kernels.reference.residual_layer`."""
    column = tl.arange(0, WIDTH)
    real = column < C
    square = real[:, None] & real[None, :]
    # Products read their right factor from shared memory. These do not change in the loop, so the compiler puts
    # them there before it, and they stay.
    weight = dilated_weight + column[:, None] * (2 * C) + column[None, :]
    gate_left = tl.load(weight, mask=square, other=0.0)
    signal_left = tl.load(weight + C, mask=square, other=0.0)
    gate_middle = tl.load(weight + 2 * C * C, mask=square, other=0.0)
    signal_middle = tl.load(weight + 2 * C * C + C, mask=square, other=0.0)
    gate_right = tl.load(weight + 4 * C * C, mask=square, other=0.0)
    signal_right = tl.load(weight + 4 * C * C + C, mask=square, other=0.0)
    weight = output_weight + column[:, None] * (2 * C) + column[None, :]
    residual_weight = tl.load(weight, mask=square, other=0.0)
    skip_weight = tl.load(weight + C, mask=square, other=0.0)

    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), num_stages=STAGES):
        example = (tile // per_example).to(tl.int64)
        start = example * positions
        length = tl.load(lengths + example)
        position = (tile % per_example) * BLOCK + tl.arange(0, BLOCK)
        both = (position < positions)[:, None] & real[None, :]
        before, after = position - dilation, position + dilation
        in_left = (before >= 0) & (before < length)
        in_middle = position < length
        in_right = after < length

        base = x + start * C + column[None, :]
        left = tl.load(base + before[:, None] * C, mask=in_left[:, None] & real[None, :], other=0.0)
        # Zero beyond the end, as the convolution needs it. The residual path there goes nowhere: only the residual
        # path beyond the end of the next layer reads it.
        middle = tl.load(base + position[:, None] * C, mask=in_middle[:, None] & real[None, :], other=0.0)
        right = tl.load(base + after[:, None] * C, mask=in_right[:, None] & real[None, :], other=0.0)

        condition = projection + start * (2 * C) + position[:, None] * (2 * C) + column[None, :]
        gate = tl.load(condition, mask=both, other=0.0).to(tl.float32)
        signal = tl.load(condition + C, mask=both, other=0.0).to(tl.float32)
        # Biases are read again for every tile: held, they would take 64 registers of each thread.
        gate += tl.load(bias + column, mask=real, other=0.0)[None, :]
        signal += tl.load(bias + C + column, mask=real, other=0.0)[None, :]
        constant = taps + example * (6 * C)
        gate, signal = tap_constant(constant, gate, signal, in_left, column, C)
        gate, signal = tap_constant(constant + 2 * C, gate, signal, in_middle, column, C)
        gate, signal = tap_constant(constant + 4 * C, gate, signal, in_right, column, C)

        gate = tl.dot(left.to(OPERAND), gate_left.to(OPERAND), gate)
        signal = tl.dot(left.to(OPERAND), signal_left.to(OPERAND), signal)
        gate = tl.dot(middle.to(OPERAND), gate_middle.to(OPERAND), gate)
        signal = tl.dot(middle.to(OPERAND), signal_middle.to(OPERAND), signal)
        gate = tl.dot(right.to(OPERAND), gate_right.to(OPERAND), gate)
        signal = tl.dot(right.to(OPERAND), signal_right.to(OPERAND), signal)

        opened, heard = gate_and_signal(gate, signal)
        gated = rounded(opened * heard, OPERAND).to(OPERAND)
        here = start * C + position[:, None] * C + column[None, :]
        residual = tl.dot(gated, residual_weight.to(OPERAND)) + middle.to(tl.float32)
        residual += tl.load(output_bias + column, mask=real, other=0.0)[None, :]
        tl.store(following + here, rounded(residual * SQRT_HALF, OPERAND), mask=both)
        skip = tl.dot(gated, skip_weight.to(OPERAND))
        skip += tl.load(output_bias + C + column, mask=real, other=0.0)[None, :]
        if not FIRST:
            skip += tl.load(total + here, mask=both, other=0.0).to(tl.float32)
        tl.store(total + here, rounded(skip, OPERAND), mask=both)


def resident_constants(channels: int, first: bool) -> dict[str, Any]:
    """What :func:`resident_forward` is compiled for.

    Args:
        channels: ``C``.
        first: the layer writes the sum of skips, later ones add to it.
    """
    return {
        "C": channels,
        "WIDTH": width(channels),
        "BLOCK": RESIDENT.block,
        "STAGES": RESIDENT.stages,
        "FIRST": first,
    }


def launch_resident(
    x: Tensor,
    projection: Tensor,
    taps: Tensor,
    lengths: Tensor,
    weights: LayerWeights,
    following: Tensor,
    total: Tensor,
    first: bool,
) -> None:
    """Run one layer on the tensors that :func:`resident_forward` names; allocates nothing and waits for nothing."""
    batch, positions, channels = x.shape
    per_example = triton.cdiv(positions, RESIDENT.block)
    tiles = per_example * batch
    with device_of(x):
        resident_forward[(min(tiles, _multiprocessors(x.device)),)](
            x,
            projection,
            taps,
            lengths,
            weights.dilated,
            weights.output,
            weights.bias,
            weights.output_bias,
            following,
            total,
            positions,
            weights.dilation,
            per_example,
            tiles,
            **resident_constants(channels, first),
            OPERAND=operand(x),
            num_warps=RESIDENT.warps,
            maxnreg=RESIDENT.registers,
        )


@lru_cache
def resident_fits(device: torch.device, channels: int, taps: int) -> bool:
    """Whether the weights of a layer and the tiles in flight fit the shared memory of this GPU.

    Args:
        device: of the network.
        channels: ``C``.
        taps: of the convolution.
    """
    needed = resident_shared_bytes(channels)
    if taps != 3 or needed is None:
        return False
    if device.type != "cuda":
        return True
    return needed <= getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0)


@lru_cache
def _multiprocessors(device: torch.device) -> int:
    """Programs that run at once; the interpreter gets 2, so that a program takes several tiles."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2
