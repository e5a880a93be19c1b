"""What both sides of a comparison are given: noise in place of torch's own, and output layers that are not zero."""

from __future__ import annotations

import contextlib
import unittest.mock
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

_OUTPUT_STD, _CONDITION_GAIN = 0.25, 6.0


@contextlib.contextmanager
def served(values: Iterable[Tensor], *names: str) -> Iterator[None]:
    """Let ``torch.NAME``, for each of the names, return these values, all of them and in turn.

    Raises:
        RuntimeError: if some were not asked for.
    """
    left = iter(values)

    def serve(*_arguments: Any, **_settings: Any) -> Tensor:
        return next(left).clone()

    with unittest.mock.patch.multiple(torch, **dict.fromkeys(names, serve)):
        yield
    unused = sum(1 for _ in left)
    if unused:
        raise RuntimeError(f"expected torch.{' and torch.'.join(names)} to be called {unused} times more")


@torch.no_grad()
def stir(network: nn.Module) -> None:
    """Give a new network an output layer that is not zero, and let the mel have a say in it.

    Args:
        network: of lmnt-com or SpeechBrain.
    """
    for name, value in network.named_parameters():
        if name.startswith("output_projection.") and name.endswith("weight"):
            value.normal_(std=_OUTPUT_STD)
        elif "conditioner_projection" in name and name.endswith("weight"):
            value.mul_(_CONDITION_GAIN)


def count(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def repeat(mel: Tensor, frames: int, batch: int) -> Tensor:
    """A batch ``[B, M, frames]`` of a mel ``[M, F]``, repeated or cut."""
    longer = mel.repeat(1, -(-frames // mel.shape[1]))[:, :frames]
    return longer.expand(batch, -1, -1).contiguous()
