"""The residual stack on a GPU, one launch a layer; needs Triton, which is imported at the first use.

Letters as in ``diffwave.kernels.layers``. Whatever the network's type is, products take bfloat16 and sum in float32,
and what lies in memory between layers is bfloat16. A call without gradients does not wait for the GPU, so once the
first has compiled the kernels, a CUDA graph can hold it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffwave.kernels.layers import ResidualLayer, Stack, require_zeros
from diffwave.kernels.reference import CACHE_BYTES
from diffwave.kernels.triton_tiles import LARGEST, SMALLEST, tile_for
from diffwave.kernels.triton_weights import LayerWeights, StackWeights, kernel_layers, pad_bands


@dataclass(frozen=True)
class Triton:
    """The residual layers as fused kernels; see :func:`unavailable` for where they run.

    Args:
        cache_bytes: projections of the mel that would take more memory are made anew in every call.
    """

    cache_bytes: int = CACHE_BYTES
    name: str = "triton"

    def stack(self, layers: Sequence[ResidualLayer], mel: Tensor, mask: Tensor | None, calls: int) -> Stack:
        """See :class:`~diffwave.kernels.layers.Backend`.

        Raises:
            ValueError: if the kernels cannot run on this device, or with so many channels or positions.
        """
        require_zeros(layers, self.name)
        channels, positions = layers[0].output_weight.shape[1], mel.shape[-1]
        reason = unavailable(mel.device, channels)
        # Kernels count within an example with 32 bits: 17 minutes of BASE.
        if reason is None and positions * 2 * channels >= 1 << 31:
            reason = f"expected fewer than {(1 << 30) // channels} positions with {channels} channels; got {positions}"
        if reason is not None:
            raise ValueError(f"backend {self.name}: {reason}")
        ready = None if gradients_wanted(layers, mel) else self._prepare(layers, mel, mask, calls)

        def run(x: Tensor, shifts: Tensor) -> Tensor:
            if gradients_wanted(layers, mel, x, shifts):
                return _with_gradients(layers, mel, mask, x, shifts)
            return (ready or self._prepare(layers, mel, mask, calls=1))(x, shifts)

        return run

    @torch.no_grad()
    def _prepare(self, layers: Sequence[ResidualLayer], mel: Tensor, mask: Tensor | None, calls: int) -> _Ready:
        with _own_types(mel):
            weights = StackWeights.of(layers)
            conditions = [channels_last_mel(mel)]  # [B, P, M]
            cut = kernel_layers(weights)
            projections = mel.shape[0] * mel.shape[2] * weights.bias.numel() * 2
            keep = calls > 1 and projections <= self.cache_bytes
            if keep:
                conditions = [conditions[0] @ layer.condition.flatten(1) for layer in cut]  # [B, P, 2C]
            return _Ready(weights, cut, conditions, keep, ends(mel, mask))


@dataclass(frozen=True, eq=False)
class _Ready:
    """A stack without gradients: weights in the kernels' order, one condition for all layers or one each."""

    weights: StackWeights
    layers: list[LayerWeights]
    conditions: list[Tensor]
    projected: bool
    lengths: Tensor

    @torch.no_grad()
    def __call__(self, x: Tensor, shifts: Tensor) -> Tensor:
        with _own_types(x):
            taps = self.weights.taps(shifts)
        this = channels_last(x)
        # Two buffers in turn, and neither is the caller's x: channels-last bfloat16 comes through as it is.
        buffers, total = (torch.empty_like(this), torch.empty_like(this)), torch.empty_like(this)
        for index, layer in enumerate(self.layers):
            following = buffers[index % 2]
            self._layer(index, layer, this, taps[index], following, total)
            this = following
        return total.transpose(1, 2).to(x.dtype)

    def _layer(
        self, index: int, layer: LayerWeights, x: Tensor, taps: Tensor, following: Tensor, total: Tensor
    ) -> None:
        from diffwave.kernels.triton_forward import launch_forward
        from diffwave.kernels.triton_resident import launch_resident, resident_fits

        condition = self.conditions[index if self.projected else 0]
        if self.projected and resident_fits(x.device, x.shape[-1], taps.shape[1]):
            launch_resident(x, condition, taps, self.lengths, layer, following, total, index == 0)
        else:
            mels = 0 if self.projected else condition.shape[-1]
            launch_forward(x, condition, taps, self.lengths, layer, following, total, None, index == 0, mels)


def _with_gradients(
    layers: Sequence[ResidualLayer], mel: Tensor, mask: Tensor | None, x: Tensor, shifts: Tensor
) -> Tensor:
    from diffwave.kernels.triton_training import FusedStack

    with _own_types(x):
        weights = StackWeights.of(layers)
        inputs = (channels_last(x), channels_last_mel(mel), weights.taps(shifts), ends(mel, mask))
        total: Tensor = FusedStack.apply(*inputs, weights.dilations, *weights.tensors())
        return total.transpose(1, 2).to(x.dtype)


def _own_types(value: Tensor) -> torch.autocast:
    """Products here choose their types themselves, also where autocast is on."""
    return torch.autocast(value.device.type, enabled=False)


def gradients_wanted(layers: Sequence[ResidualLayer], *values: Tensor) -> bool:
    """Whether autograd is on and anything here takes part."""
    if not torch.is_grad_enabled():
        return False
    weights = (value for layer in layers for value in vars(layer).values() if isinstance(value, Tensor))
    return any(value.requires_grad for value in (*values, *weights))


def channels_last(value: Tensor) -> Tensor:
    """``[B, C, P]`` as contiguous bfloat16 ``[B, P, C]``."""
    return value.transpose(1, 2).to(torch.bfloat16).contiguous()


def channels_last_mel(mel: Tensor) -> Tensor:
    """``[B, M, P]`` as contiguous bfloat16 ``[B, P, M]``, ``M`` padded."""
    return pad_bands(channels_last(mel)).contiguous()


def ends(mel: Tensor, mask: Tensor | None) -> Tensor:
    """Where each example ends, int32 ``[B]``, made without waiting for the GPU."""
    batch, _, positions = mel.shape
    if mask is None:
        return torch.full((batch,), positions, dtype=torch.int32, device=mel.device)
    return mask.sum((1, 2), dtype=torch.float32).to(torch.int32)


def unavailable(device: torch.device, channels: int) -> str | None:
    """Why the fused kernels cannot run, in words; None if they can.

    ``TRITON_INTERPRET=1``, set before Triton is imported, makes a CPU do, slowly, for tests.

    Args:
        device: of the network.
        channels: ``C``.
    """
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if channels % SMALLEST or not 0 < channels <= LARGEST:
        return f"expected a multiple of {SMALLEST} residual channels, {LARGEST} at most; got {channels}"
    if os.environ.get("TRITON_INTERPRET") == "1":
        return None if device.type == "cpu" else f"TRITON_INTERPRET=1 runs on the CPU, not on {device.type}"
    if device.type != "cuda":
        return f"expected a CUDA GPU, got {device.type}"
    if torch.version.hip is not None:
        return "expected CUDA, got ROCm, where the kernels have never run"
    properties = torch.cuda.get_device_properties(device)
    if properties.major < 8:
        return f"expected compute capability 8.0 or newer, for bfloat16; got {properties.major}.{properties.minor}"
    needed = tile_for(channels).shared_bytes(channels)
    if getattr(properties, "shared_memory_per_block_optin", needed) < needed:
        return f"{channels} channels need {needed >> 10} KiB of shared memory a program; {properties.name} has less"
    return missing_tools()


def missing_tools() -> str | None:
    """What Triton would miss when it builds its launcher at the first use, in words; None if nothing."""
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "Triton needs a C compiler, gcc or clang; found none"
    # Where Triton looks: Debian's default would point to /usr/local.
    scheme = sysconfig.get_default_scheme()
    header = Path(sysconfig.get_path("include", "posix_prefix" if scheme == "posix_local" else scheme)) / "Python.h"
    return None if header.is_file() else f"Triton needs the headers of Python; found no {header}"
