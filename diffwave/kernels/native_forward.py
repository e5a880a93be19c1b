"""The C kernel from the first layer to the last."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffwave.kernels.native_library import BatchSizes, PackedStructure, PackedWeights, ShapeStructure, library, pointer


class _Forward(ctypes.Structure):
    _fields_ = [
        ("shape", ShapeStructure),
        ("scratch", ctypes.c_void_p),
        ("weights", PackedStructure),
        *((name, ctypes.c_void_p) for name in ("constants", "conditions", "mel", "streams")),
        ("stream_stride", ctypes.c_int64),
        ("stream_count", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("total", "gates", "next")),
    ]


class _Conditions(ctypes.Structure):
    _fields_ = [
        ("shape", ShapeStructure),
        ("weights", PackedStructure),
        ("mel", ctypes.c_void_p),
        ("conditions", ctypes.c_void_p),
    ]


def mel_rows(mel: Tensor) -> Tensor:
    """A mel ``[B, M, P]`` as bfloat16 rows ``[B P rounded up to 6, M rounded up to 2]``, zeros beyond."""
    examples, bands, positions = mel.shape
    count = examples * positions
    rows = torch.zeros(-(-count // 6) * 6, -(-bands // 2) * 2, dtype=torch.bfloat16)
    rows[:count, :bands].view(examples, positions, bands).copy_(mel.transpose(1, 2))
    return rows


@dataclass(frozen=True, eq=False)
class ForwardTask:
    """The layers from first to last, on buffers that the caller made.

    Args:
        sizes: of the batch.
        weights: packed.
        mel: from :func:`mel_rows`.
        streams: ``[L or 2, B, rows, C]``, the first one filled by :func:`enter`, zeros in all margins; two take turns.
        total: ``[B, P, C]``, where the sum of skip connections goes; what lies beyond an example's end is not touched.
        conditions: projections of the mel ``[L, B, P, 2C]``, or None to make them on the way.
        gates: where sigmoid and tanh are kept, ``[L, B, P, 2C]``.
    """

    sizes: BatchSizes
    weights: PackedWeights
    mel: Tensor
    streams: Tensor
    total: Tensor
    conditions: Tensor | None = None
    gates: Tensor | None = None

    def run(self, shifts: Tensor) -> None:
        """Run the layers with shifts ``[B, L, C]``."""
        constants = layer_constants(shifts, self.weights.tensors["output_bias"])
        counters = torch.zeros(self.sizes.layers, dtype=torch.int64)
        task = _Forward(
            self.sizes.shape(),
            None,
            self.weights.pointers(),
            constants.data_ptr(),
            pointer(self.conditions),
            self.mel.data_ptr(),
            self.streams.data_ptr(),
            self.streams[0].numel(),
            len(self.streams),
            self.total.data_ptr(),
            pointer(self.gates),
            counters.data_ptr(),
        )
        if library().diffwave_forward(ctypes.byref(task)):
            raise MemoryError("native kernel: expected memory for the threads' intermediate values; there is none left")


class InferenceStack:
    """Layers and mel made ready; buffers are kept from call to call.

    Args:
        sizes: of the batch.
        weights: packed.
        mel: upsampled, shape ``[B, M, P]``.
        cache_bytes: most that kept projections of the mel may take.
    """

    def __init__(self, sizes: BatchSizes, weights: PackedWeights, mel: Tensor, cache_bytes: int) -> None:
        rows = mel_rows(mel)
        # Two streams take turns; what lies beyond an example's end is never written and stays zero.
        streams = torch.zeros(2, sizes.examples, sizes.rows, sizes.channels)
        total = torch.zeros(sizes.examples, sizes.positions, sizes.channels)
        needed = sizes.layers * sizes.examples * sizes.positions * 2 * sizes.channels * 2
        conditions = project(sizes, weights, rows) if needed <= cache_bytes else None
        self.task = ForwardTask(sizes, weights, rows, streams, total, conditions)

    def __call__(self, x: Tensor, shifts: Tensor) -> Tensor:
        """See :class:`~diffwave.kernels.layers.Stack`."""
        self.task.sizes.check(x, shifts)
        shifts = shifts.float().contiguous()
        enter(self.task.streams[0], x, shifts, self.task.sizes)
        self.task.run(shifts)
        return self.task.total.transpose(1, 2).clone()


def project(sizes: BatchSizes, weights: PackedWeights, mel: Tensor) -> Tensor:
    """Projections of a mel from :func:`mel_rows` for every layer, bfloat16, shape ``[L, B, P, 2C]``."""
    shape = (sizes.layers, sizes.examples, sizes.positions, 2 * sizes.channels)
    conditions = torch.empty(shape, dtype=torch.bfloat16)
    task = _Conditions(sizes.shape(), weights.pointers(), mel.data_ptr(), conditions.data_ptr())
    library().diffwave_conditions(ctypes.byref(task))
    return conditions


def enter(stream: Tensor, x: Tensor, shifts: Tensor, sizes: BatchSizes) -> None:
    """Write ``x + shift`` ``[B, C, P]`` into the first stream ``[B, rows, C]``, zero beyond each example's end."""
    inside = stream[:, sizes.reach : sizes.reach + sizes.positions]
    torch.add(x.transpose(1, 2), shifts[:, 0].unsqueeze(1), out=inside)
    for example, length in enumerate(sizes.lengths.tolist()):
        inside[example, length:] = 0


def layer_constants(shifts: Tensor, output_bias: Tensor) -> Tensor:
    """What turns one layer's shifted input into the next one's, apart from the product.

    With input ``u = x + s`` of this layer, product ``z``, bias ``b`` and the next shift ``t``, the next input is
    ``(x + z + b) / sqrt(2) + t = (u + z) / sqrt(2) + (b - s) / sqrt(2) + t``; the last two terms are returned.

    Args:
        shifts: of the layers, shape ``[B, L, C]``.
        output_bias: of the output projections, ``[L * 2C]``.
    """
    _, count, channels = shifts.shape
    bias = output_bias.view(count, 2 * channels)[:, :channels]
    constants = (bias - shifts) * math.sqrt(0.5)
    constants[:, :-1] += shifts[:, 1:]
    return constants
