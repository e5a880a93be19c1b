"""One residual layer in one pass over memory: dilated convolution, condition, gate, output, residual and skip.

Letters as in ``diffwave.kernels.layers``, ``K`` taps of the convolution. Activations are channels-last, bfloat16 in
memory and float32 in registers. Each program computes ``BLOCK`` positions of one example: the convolution is a sum
of matrix products over shifted tiles, ``K C`` deep; the gate never leaves registers.

The shift (step embedding) does not touch the input. A convolution of ``x + shift`` is one of ``x`` plus, at every
tap that lies inside the example, the constant ``dilated_weight[tap] @ shift``: ``taps``, one small product for all
layers. So tiles go from memory to the tensor cores as they are, and the input is rounded once, not twice.

Import this module only where Triton is installed. Set ``TRITON_INTERPRET=1`` before to run it on a CPU.
"""

# No "from __future__ import annotations": Triton's interpreter needs ``tl.constexpr`` itself, not its name.
# ruff: noqa: N803

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffwave.kernels.triton_tiles import SMALLEST, Tile, chunk, tile_for, width
from diffwave.kernels.triton_weights import LayerWeights

_LOG2_E: tl.constexpr = tl.constexpr(math.log2(math.e))
SQRT_HALF: tl.constexpr = tl.constexpr(math.sqrt(0.5))


@triton.jit  # type: ignore[untyped-decorator]
def rounded(value, OPERAND: tl.constexpr):  # type: ignore[no-untyped-def]
    """Round float32 to the nearest bfloat16, ties to even, as a GPU does; the interpreter alone would cut off."""
    if tl.float32 == OPERAND:
        bits = value.to(tl.uint32, bitcast=True)
        bits += 0x7FFF + ((bits >> 16) & 1)
        value = (bits & 0xFFFF0000).to(tl.float32, bitcast=True)
    return value.to(tl.bfloat16)


@triton.jit
def gate_and_signal(gate, signal):  # type: ignore[no-untyped-def]
    """``sigmoid(gate)`` and ``tanh(signal)`` in float32, without overflow."""
    opened = 1.0 / (1.0 + tl.exp2(gate * -_LOG2_E))
    decay = tl.exp2(tl.abs(signal) * (-2.0 * _LOG2_E))
    magnitude = (1.0 - decay) / (1.0 + decay)
    return opened, tl.where(signal < 0.0, -magnitude, magnitude)


@triton.jit  # type: ignore[untyped-decorator]
def tap_constant(constant, gate, signal, inside, column, C: tl.constexpr):  # type: ignore[no-untyped-def]
    """Add what a tap makes of the shift, where the tap lies inside the example."""
    real = column < C
    gate += tl.where(inside[:, None], tl.load(constant + column, mask=real, other=0.0)[None, :], 0.0)
    signal += tl.where(inside[:, None], tl.load(constant + C + column, mask=real, other=0.0)[None, :], 0.0)
    return gate, signal


@triton.jit(do_not_specialize=["positions", "dilation"])  # type: ignore[untyped-decorator]
def layer_forward(  # type: ignore[no-untyped-def]
    x,  # [B, P, C] bfloat16
    condition,  # MELS > 0: upsampled mel [B, P, MELS]; else its projection [B, P, 2, C]; bfloat16
    taps,  # [B, K, 2, C] float32
    lengths,  # [B] int32: where each example ends
    dilated_weight,  # [K, C, 2, C] bfloat16
    condition_weight,  # [MELS, 2, C] bfloat16
    output_weight,  # [C, 2, C] bfloat16
    bias,  # [2, C] float32
    output_bias,  # [2, C] float32
    following,  # out: the next layer's x, [B, P, C] bfloat16; never x itself, neighbours still read it
    total,  # in and out: sum of the skip connections, [B, P, C] bfloat16
    gates,  # out where SAVE: gate and signal before their nonlinearities, [B, P, 2, C] bfloat16
    positions,
    dilation,
    C: tl.constexpr,
    TAPS: tl.constexpr,
    MELS: tl.constexpr,
    WIDTH: tl.constexpr,  # power of two >= C: tensors of Triton have no other sizes
    CHUNK: tl.constexpr,  # input channels a product takes at once, divides C
    MEL_CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
    FIRST: tl.constexpr,  # the first layer writes total, later ones add to it
    SAVE: tl.constexpr,
    OPERAND: tl.constexpr,  # bfloat16; float32 where the interpreter cannot multiply bfloat16
):
    """See the module; the definition is :func:`diffwave.kernels.reference.residual_layer`."""
    example = tl.program_id(1).to(tl.int64)
    start = example * positions  # rows before this example, 64 bits: a batch may hold more than 2**31 numbers
    length = tl.load(lengths + example)
    position = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    within = position < positions
    column = tl.arange(0, WIDTH)
    real = column < C

    both = within[:, None] & real[None, :]
    gate = tl.zeros((BLOCK, WIDTH), tl.float32) + tl.load(bias + column, mask=real, other=0.0)[None, :]
    signal = tl.zeros((BLOCK, WIDTH), tl.float32) + tl.load(bias + C + column, mask=real, other=0.0)[None, :]
    if MELS == 0:
        projection = condition + start * (2 * C) + position[:, None] * (2 * C) + column[None, :]
        gate += tl.load(projection, mask=both, other=0.0).to(tl.float32)
        signal += tl.load(projection + C, mask=both, other=0.0).to(tl.float32)
    for tap in tl.static_range(TAPS):
        source = position + (tap - TAPS // 2) * dilation
        inside = (source >= 0) & (source < length)
        gate, signal = tap_constant(taps + (example * TAPS + tap) * (2 * C), gate, signal, inside, column, C)

    deep = tl.arange(0, CHUNK)
    for step in tl.range(0, TAPS * (C // CHUNK), num_stages=STAGES):
        source = position + (step // (C // CHUNK) - TAPS // 2) * dilation
        inside = (source >= 0) & (source < length)
        channel = (step % (C // CHUNK)) * CHUNK + deep
        tile = tl.load(x + start * C + source[:, None] * C + channel[None, :], mask=inside[:, None], other=0.0)
        weight = dilated_weight + (step * CHUNK + deep)[:, None] * (2 * C) + column[None, :]
        gate_weight = tl.load(weight, mask=real[None, :], other=0.0)
        signal_weight = tl.load(weight + C, mask=real[None, :], other=0.0)
        gate = tl.dot(tile.to(OPERAND), gate_weight.to(OPERAND), gate)
        signal = tl.dot(tile.to(OPERAND), signal_weight.to(OPERAND), signal)

    if MELS > 0:
        band = tl.arange(0, MEL_CHUNK)
        for step in tl.range(0, MELS // MEL_CHUNK, num_stages=STAGES):
            bands = step * MEL_CHUNK + band
            mel = condition + start * MELS + position[:, None] * MELS + bands[None, :]
            tile = tl.load(mel, mask=within[:, None], other=0.0)
            weight = condition_weight + bands[:, None] * (2 * C) + column[None, :]
            gate_weight = tl.load(weight, mask=real[None, :], other=0.0)
            signal_weight = tl.load(weight + C, mask=real[None, :], other=0.0)
            gate = tl.dot(tile.to(OPERAND), gate_weight.to(OPERAND), gate)
            signal = tl.dot(tile.to(OPERAND), signal_weight.to(OPERAND), signal)

    if SAVE:
        saved = gates + start * (2 * C) + position[:, None] * (2 * C) + column[None, :]
        tl.store(saved, rounded(gate, OPERAND), mask=both)
        tl.store(saved + C, rounded(signal, OPERAND), mask=both)

    opened, heard = gate_and_signal(gate, signal)
    gated = rounded(opened * heard, OPERAND).to(OPERAND)
    weight = output_weight + column[:, None] * (2 * C) + column[None, :]
    square = real[:, None] & real[None, :]
    here = start * C + position[:, None] * C + column[None, :]

    residual = tl.dot(gated, tl.load(weight, mask=square, other=0.0).to(OPERAND))
    residual += tl.load(output_bias + column, mask=real, other=0.0)[None, :]
    residual += tl.load(x + here, mask=both, other=0.0).to(tl.float32)
    tl.store(following + here, rounded(residual * SQRT_HALF, OPERAND), mask=both)

    skip = tl.dot(gated, tl.load(weight + C, mask=square, other=0.0).to(OPERAND))
    skip += tl.load(output_bias + C + column, mask=real, other=0.0)[None, :]
    if not FIRST:
        skip += tl.load(total + here, mask=both, other=0.0).to(tl.float32)
    tl.store(total + here, rounded(skip, OPERAND), mask=both)


def forward_constants(channels: int, taps: int, mels: int, first: bool, save: bool, tile: Tile) -> dict[str, Any]:
    """What :func:`layer_forward` is compiled for.

    Args:
        channels, taps: ``C`` and ``K``.
        mels: bands of the mel, a multiple of 16; 0 where projections are given.
        first: the layer writes the sum of skips.
        save: keep what the backward pass needs.
        tile: see :class:`Tile`.
    """
    return {
        "C": channels,
        "TAPS": taps,
        "MELS": mels,
        "WIDTH": width(channels),
        "CHUNK": chunk(channels),
        "MEL_CHUNK": chunk(mels) if mels else SMALLEST,
        "BLOCK": tile.block,
        "STAGES": tile.stages,
        "FIRST": first,
        "SAVE": save,
    }


def launch_forward(
    x: Tensor,
    condition: Tensor,
    taps: Tensor,
    lengths: Tensor,
    weights: LayerWeights,
    following: Tensor,
    total: Tensor,
    gates: Tensor | None,
    first: bool,
    mels: int,
) -> None:
    """Run one layer on the tensors that :func:`layer_forward` names; allocates nothing and waits for nothing."""
    batch, positions, channels = x.shape
    tile = tile_for(channels)
    constants = forward_constants(channels, taps.shape[1], mels, first, gates is not None, tile)
    with device_of(x):
        layer_forward[(triton.cdiv(positions, tile.block), batch)](
            x,
            condition,
            taps,
            lengths,
            weights.dilated,
            weights.condition,
            weights.output,
            weights.bias,
            weights.output_bias,
            following,
            total,
            x if gates is None else gates,
            positions,
            weights.dilation,
            **constants,
            OPERAND=operand(x),
            num_warps=tile.warps,
            maxnreg=tile.registers,
        )


def device_of(x: Tensor) -> AbstractContextManager[None]:
    """Make the GPU of ``x`` the current one, where Triton launches; nothing on a CPU."""
    context: AbstractContextManager[None] = torch.cuda.device_of(x)  # type: ignore[no-untyped-call]
    return context


def operand(x: Tensor) -> Any:
    """Type that matrix products multiply: the interpreter takes bfloat16 for whole numbers, so float32 there.

    The numbers are those of bfloat16 either way, and both sum in float32.
    """
    return tl.bfloat16 if x.is_cuda else tl.float32
