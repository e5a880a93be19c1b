"""The C kernel in training: forward that keeps what backward needs, and backward (``csrc/backward.h``)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from diffwave.kernels.layers import ResidualLayer
from diffwave.kernels.native_forward import ForwardTask, enter, mel_rows
from diffwave.kernels.native_library import (
    BatchSizes,
    PackedStructure,
    PackedWeights,
    ShapeStructure,
    library,
    parameters,
    tensors,
)


class _Backward(ctypes.Structure):
    _fields_ = [
        ("shape", ShapeStructure),
        ("scratch", ctypes.c_void_p),
        ("weights", PackedStructure),
        ("mel", ctypes.c_void_p),
        ("streams", ctypes.c_void_p),
        ("stream_stride", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("gates", "total", "stream_gradient", "gate_gradient", "mel_gradient")),
        *((name, ctypes.c_void_p) for name in ("shift_gradient", "sums", "gradients")),
    ]


class Buffers:
    """Memory of one pass forward and back, used again: margins of zeros are written once, and pages are there.

    Args:
        sizes: of the batch.
        threads: of the backward pass.
    """

    def __init__(self, sizes: BatchSizes, threads: int) -> None:
        layers, examples, channels = sizes.layers, sizes.examples, sizes.channels
        positions, bands = sizes.positions, -(-sizes.bands // 16) * 16
        self.streams = torch.zeros(layers, examples, sizes.rows, channels)
        self.gates = torch.empty(layers, examples, positions, 2 * channels, dtype=torch.bfloat16)
        self.total = torch.zeros(examples, positions, channels)
        self.stream_gradient = torch.empty(examples, positions, channels)
        self.gate_gradient = torch.zeros(examples, sizes.rows, 2 * channels, dtype=torch.bfloat16)
        stretch = library().diffwave_stretch()  # the kernel adds whole blocks
        self.mel_gradient = torch.empty(examples, -(-positions // stretch) * stretch, bands)
        self.shift_gradient = torch.empty(threads, examples, layers, channels)
        shape = sizes.shape()
        self.sums = torch.empty(threads, layers, library().diffwave_sums(ctypes.byref(shape)))

    def clear(self) -> None:
        """Zero what the backward pass adds to."""
        for tensor in (self.stream_gradient, self.mel_gradient, self.shift_gradient, self.sums):
            tensor.zero_()


@dataclass(eq=False)
class BufferPool:
    """Buffers that are not in use, by size; a pass takes some and its backward pass brings them back."""

    free: dict[tuple[object, ...], list[Buffers]] = field(default_factory=dict)

    def take(self, sizes: BatchSizes, threads: int) -> Buffers:
        """Buffers that fit, used before or new."""
        kept = self.free.get(_key(sizes, threads))
        return kept.pop() if kept else Buffers(sizes, threads)

    def give(self, sizes: BatchSizes, threads: int, buffers: Buffers) -> None:
        """Bring buffers back; only those of the latest size stay."""
        key = _key(sizes, threads)
        self.free = {key: [*self.free.get(key, []), buffers][:1]}

    def __reduce__(self) -> tuple[type[BufferPool], tuple[()]]:
        """Copied and stored without the buffers."""
        return BufferPool, ()


def _key(sizes: BatchSizes, threads: int) -> tuple[object, ...]:
    dilations, lengths = tuple(sizes.dilations.tolist()), tuple(sizes.lengths.tolist())
    return (sizes.layers, sizes.examples, sizes.positions, sizes.channels, sizes.bands, dilations, lengths, threads)


@dataclass(frozen=True, eq=False)
class _Pass:
    """What forward leaves for backward."""

    sizes: BatchSizes
    threads: int
    layers: list[list[Tensor]]
    weights: PackedWeights
    mel: Tensor
    buffers: Buffers


class _TrainedStack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pool: BufferPool,
        sizes: BatchSizes,
        layers: Sequence[ResidualLayer],
        x: Tensor,
        shifts: Tensor,
        mel: Tensor,
        *_parameters: Tensor,
    ) -> Tensor:
        sizes.check(x, shifts)
        threads = torch.get_num_threads()
        buffers = pool.take(sizes, threads)
        weights, rows, plain = PackedWeights(layers, sizes, backward=True), mel_rows(mel), shifts.float().contiguous()
        enter(buffers.streams[0], x, plain, sizes)
        ForwardTask(sizes, weights, rows, buffers.streams, buffers.total, gates=buffers.gates).run(plain)
        ctx.kept = _Pass(sizes, threads, [parameters(layer) for layer in layers], weights, rows, buffers)
        ctx.pool = pool
        ctx.types = x.dtype, shifts.dtype, mel.dtype
        return buffers.total.transpose(1, 2).clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kept: _Pass | None = ctx.kept
        if kept is None:
            raise RuntimeError("native kernel: backward ran before; it keeps nothing for a second time")
        ctx.kept = None
        x, shifts, mel = ctx.types
        buffers, found = kept.buffers, _run_backward(kept, gradients[0])
        x_gradient = buffers.stream_gradient.transpose(1, 2).to(x, copy=True)
        shift_gradient = buffers.shift_gradient.sum(dim=0).to(shifts)
        mel_gradient = buffers.mel_gradient[:, : kept.sizes.positions, : kept.sizes.bands]
        mel_gradient = mel_gradient.transpose(1, 2).to(mel, copy=True)
        ctx.pool.give(kept.sizes, kept.threads, buffers)
        return (None, None, None, x_gradient, shift_gradient, mel_gradient, *found)


def _run_backward(kept: _Pass, gradient: Tensor) -> list[Tensor]:
    """Run the backward pass into the buffers; returns the gradients of the parameters, layer by layer."""
    sizes, buffers = kept.sizes, kept.buffers
    total = gradient.transpose(1, 2).to(torch.float32).contiguous()  # [B, P, C]
    for example, length in enumerate(sizes.lengths.tolist()):
        total[example, length:] = 0
    found = [torch.empty_like(value) for layer in kept.layers for value in layer]
    pointers = torch.tensor([value.data_ptr() for value in found])
    buffers.clear()
    shape = sizes.shape()
    shape.threads = kept.threads
    pointed = (buffers.gates, total, buffers.stream_gradient, buffers.gate_gradient, buffers.mel_gradient)
    task = _Backward(
        shape,
        None,
        kept.weights.pointers(),
        kept.mel.data_ptr(),
        buffers.streams.data_ptr(),
        buffers.streams[0].numel(),
        *(tensor.data_ptr() for tensor in (*pointed, buffers.shift_gradient, buffers.sums, pointers)),
    )
    if library().diffwave_backward(ctypes.byref(task)):
        raise MemoryError("native kernel: expected memory for the threads' intermediate values; there is none left")
    return found


def trained_stack(
    pool: BufferPool, sizes: BatchSizes, layers: Sequence[ResidualLayer], x: Tensor, shifts: Tensor, mel: Tensor
) -> Tensor:
    """Run the layers with gradients of everything; see :class:`~diffwave.kernels.layers.Stack`.

    Args:
        pool: of buffers.
        sizes: of the batch.
        layers: the weights; float32.
        x: what enters the first layer, shape ``[B, C, P]``.
        shifts: projected step embedding of each layer, shape ``[B, L, C]``.
        mel: upsampled mel, shape ``[B, M, P]``.
    """
    leaves = [value for layer in layers for value in tensors(layer)]
    total: Tensor = _TrainedStack.apply(pool, sizes, layers, x, shifts, mel, *leaves)
    return total
