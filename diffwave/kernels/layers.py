"""What every implementation of the residual stack is given: the weights of its layers, and what it promises.

Letters as in ``network.diffwave``: ``B`` batch, ``C`` channels, ``L`` layers, ``M`` mel bands, ``P`` positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, eq=False)
class ResidualLayer:
    """Weights of one residual layer (DiffWave, figure 2a); the network's own tensors, not copies.

    Args:
        dilated_weight, dilated_bias: bidirectional dilated convolution, shapes ``[2C, C, K]`` and ``[2C]``.
        condition_weight, condition_bias: projection of the mel, shapes ``[2C, M, 1]`` and ``[2C]``.
        output_weight, output_bias: projection to residual and skip, shapes ``[2C, C, 1]`` and ``[2C]``.
        dilation: of the convolution.
        padding: what it sees beyond the ends, ``zeros`` or ``reflect`` (the signal's mirror image).
    """

    dilated_weight: Tensor
    dilated_bias: Tensor
    condition_weight: Tensor
    condition_bias: Tensor
    output_weight: Tensor
    output_bias: Tensor
    dilation: int
    padding: str = "zeros"


class Stack(Protocol):
    """All residual layers with one batch of mels."""

    def __call__(self, x: Tensor, shifts: Tensor) -> Tensor:
        """Run the layers.

        Args:
            x: what enters the first layer, shape ``[B, C, P]``.
            shifts: projected step embedding of each layer, shape ``[B, L, C]``.

        Returns:
            The sum of the skip connections, shape ``[B, C, P]``.
        """


class Backend(Protocol):
    """A way to run the residual layers. It holds no weights of its own, and may keep what it made of a network's."""

    @property
    def name(self) -> str:
        """How messages and tables call it."""

    def stack(self, layers: Sequence[ResidualLayer], mel: Tensor, mask: Tensor | None, calls: int) -> Stack:
        """Make the layers ready for a batch of mels.

        Args:
            layers: their weights.
            mel: upsampled mel, shape ``[B, M, P]``.
            mask: 1 inside and 0 beyond the end of each example, shape ``[B, 1, P]``; None if all are equally long.
            calls: how often the stack will be run, 1 in training; more make it worth to keep projections of the mel.
        """


def require_zeros(layers: Sequence[ResidualLayer], name: str) -> None:
    """Refuse layers that mirror the signal at its ends, for a backend whose kernels see zeros there.

    Raises:
        ValueError: if a layer does.
    """
    if any(layer.padding != "zeros" for layer in layers):
        raise ValueError(f"backend {name}: expected layers with zeros beyond the ends; got network.padding=reflect")
