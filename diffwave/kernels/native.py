"""The residual layers as one C kernel for CPUs with AVX512-BF16 (``csrc/``).

Products are in bfloat16 with float32 sums; the residual stream and the sum of skip connections stay in float32, so the
error is about half of what autocast makes. The dilated convolution takes two thirds of its multiplications (Winograd's
F(2, 3), Lavin and Gray 2016); nonlinearities, residual and skip are done while a block lies in the cache.

The library is built when the package is installed, where there is a C compiler; nothing is compiled later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffwave.kernels.layers import ResidualLayer, Stack, require_zeros
from diffwave.kernels.native_forward import InferenceStack
from diffwave.kernels.native_library import BatchSizes, PackedCache, PackedWeights, unavailable
from diffwave.kernels.native_training import BufferPool, trained_stack
from diffwave.kernels.reference import CACHE_BYTES

__all__ = ["Native", "unavailable"]


@dataclass(frozen=True, eq=False)
class Native:
    """The C kernel; :func:`unavailable` says where it cannot run.

    Args:
        cache_bytes: projections of the mel that would take more memory are made anew in every call.
    """

    cache_bytes: int = CACHE_BYTES
    name: str = field(default="native", init=False)
    pool: BufferPool = field(default_factory=BufferPool, init=False)
    packed: PackedCache = field(default_factory=PackedCache, init=False)

    def stack(self, layers: Sequence[ResidualLayer], mel: Tensor, mask: Tensor | None, calls: int) -> Stack:
        """See :class:`~diffwave.kernels.layers.Backend`."""
        require_zeros(layers, self.name)
        sizes = BatchSizes.of(layers, mel, mask)
        if not torch.is_grad_enabled():
            if calls == 1:  # as in a validation between changes of the weights
                return InferenceStack(sizes, PackedWeights(layers, sizes), mel, 0)
            return InferenceStack(sizes, self.packed.get(layers, sizes), mel, self.cache_bytes)
        return lambda x, shifts: trained_stack(self.pool, sizes, layers, x, shifts, mel)
