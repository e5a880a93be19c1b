"""Residual stacks with random weights, and how far an implementation is from float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from diffwave.kernels.layers import Backend, ResidualLayer


@dataclass(frozen=True)
class Shape:
    """A stack and a batch.

    Args:
        channels, layers, bands: ``C``, ``L`` and ``M``.
        cycle: dilations are 1, 2, 4 and so on, ``cycle`` of them, again and again.
        batch, positions: ``B`` and ``P``.
    """

    channels: int
    layers: int
    cycle: int
    batch: int = 1
    positions: int = 301
    bands: int = 80


@dataclass(frozen=True, eq=False)
class Case:
    """Weights and inputs in one type on one device; fields as in ``diffwave.kernels.layers``."""

    layers: list[ResidualLayer]
    x: Tensor
    shifts: Tensor
    mel: Tensor
    mask: Tensor | None

    def to(self, dtype: torch.dtype, device: str = "cpu") -> Case:
        """A copy; nothing is shared with this one."""

        def copied(value: Tensor) -> Tensor:
            return value.detach().to(device, dtype, copy=True)

        layers = [ResidualLayer(*(copied(value) for value in tensors(layer)), layer.dilation) for layer in self.layers]
        mask = None if self.mask is None else copied(self.mask)
        return Case(layers, copied(self.x), copied(self.shifts), copied(self.mel), mask)

    def leaves(self) -> Iterator[tuple[str, Tensor]]:
        """Everything that can have a gradient."""
        yield from (("x", self.x), ("shifts", self.shifts), ("mel", self.mel))
        for index, layer in enumerate(self.layers):
            names = [field.name for field in fields(layer)]
            yield from ((f"{name} {index}", value) for name, value in zip(names, tensors(layer), strict=False))


def tensors(layer: ResidualLayer) -> list[Tensor]:
    """The tensors of a layer, in order."""
    return [value for value in vars(layer).values() if isinstance(value, Tensor)]


def random_case(shape: Shape, lengths: tuple[int, ...] | None = None, seed: int = 0) -> Case:
    """He-initialised weights, and inputs of the size that the network has them: float32 on the CPU.

    Args:
        shape: of the stack and the batch.
        lengths: of the examples; None for no mask.
        seed: of everything.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int, scale: float = 1.0) -> Tensor:
        return torch.randn(size, generator=generator) * scale

    channels, bands = shape.channels, shape.bands
    layers = [
        ResidualLayer(
            normal(2 * channels, channels, 3, scale=(2 / (3 * channels)) ** 0.5),
            normal(2 * channels, scale=0.1),
            normal(2 * channels, bands, 1, scale=(2 / bands) ** 0.5),
            normal(2 * channels, scale=0.1),
            normal(2 * channels, channels, 1, scale=(2 / channels) ** 0.5),
            normal(2 * channels, scale=0.1),
            2 ** (index % shape.cycle),
        )
        for index in range(shape.layers)
    ]
    x = normal(shape.batch, channels, shape.positions).relu()
    shifts = normal(shape.batch, shape.layers, channels, scale=0.3)
    mel = normal(shape.batch, bands, shape.positions)
    case = Case(layers, x, shifts, mel, None)
    if lengths is None:
        return case
    inside = torch.arange(shape.positions) < torch.tensor(lengths)[:, None]  # [B, P]
    return replace(case, mask=inside.unsqueeze(1).float())


def output(backend: Backend, case: Case, calls: int) -> Tensor:
    """The stack's output without gradients; ``calls`` above 1 lets the backend keep projections of the mel."""
    with torch.no_grad():
        return backend.stack(case.layers, case.mel, case.mask, calls)(case.x, case.shifts)


def gradients(backend: Backend, case: Case) -> dict[str, Tensor]:
    """Gradients of a fixed random weighting of the output, by the name of the leaf, and the output itself."""
    for _, leaf in case.leaves():
        leaf.requires_grad_()
    total = backend.stack(case.layers, case.mel, case.mask, 1)(case.x, case.shifts)
    weighting = torch.randn(total.shape, generator=torch.Generator().manual_seed(1)).to(total)
    (total * weighting).sum().backward()
    found = {name: leaf.grad for name, leaf in case.leaves() if leaf.grad is not None}
    return {**found, "output": total.detach()}


def relative_error(value: Tensor, exact: Tensor) -> float:
    """Norm of the difference over the norm of the exact values, which are float64."""
    difference = value.double().cpu() - exact.double().cpu()
    return float(difference.norm() / exact.double().cpu().norm())
