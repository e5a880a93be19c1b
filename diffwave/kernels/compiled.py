"""The reference's residual layers through ``torch.compile``: what a hand-written kernel has to beat.

The first call takes half a minute on a CPU, where it needs a C++ compiler; batches with and without a mask, and in
either precision, are compiled apart, other lengths are not.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffwave.kernels.layers import ResidualLayer, Stack
from diffwave.kernels.reference import CACHE_BYTES, Reference

_COMPILERS = ("g++", "clang++", "c++")


def unavailable(device: torch.device) -> str | None:
    """Why ``torch.compile`` cannot make code for a device, in words; None if it can."""
    if device.type == "cuda":
        return None if importlib.util.find_spec("triton") else "expected the package triton; it is not installed"
    compilers = (os.environ.get("CXX", ""), *_COMPILERS)
    if not any(name and shutil.which(name) for name in compilers):
        return f"expected a C++ compiler ({', '.join(_COMPILERS)} or CXX); there is none"
    return None


@dataclass(frozen=True)
class Compiled:
    """The residual layers of :class:`~diffwave.kernels.reference.Reference`, compiled as one function.

    Args:
        cache_bytes: projections of the mel that would take more memory are made anew in every call.
    """

    cache_bytes: int = CACHE_BYTES
    name: str = field(default="compiled", init=False)

    def stack(self, layers: Sequence[ResidualLayer], mel: Tensor, mask: Tensor | None, calls: int) -> Stack:
        """See :class:`~diffwave.kernels.layers.Backend`."""
        run = Reference(self.cache_bytes).stack(layers, mel, mask, calls)
        # Compiled code belongs to the function's text: another mel, of any length, finds what the first one left.
        compiled: Stack = torch.compile(run, dynamic=True)
        return compiled
