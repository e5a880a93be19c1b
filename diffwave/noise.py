"""White noise as a function of (seed, stream, position).

An utterance's noise depends neither on what is synthesized with it, nor on how long it is, nor on the
device: blocks are drawn on the CPU from a generator seeded with their number.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 1 << 15
_MASK = (1 << 64) - 1


def white_noise(seed: int, stream: int, samples: int, start: int = 0) -> Tensor:
    """Standard normal noise at positions ``start`` to ``start + samples``, float32, on the CPU, ``[samples]``.

    Args:
        seed: of the output.
        stream: number of the noise within an output, such as the index of a sampling step.
        samples: how many.
        start: first position.
    """
    first, last = start // _BLOCK, (start + max(samples, 1) - 1) // _BLOCK
    blocks = [_block(seed, stream, number) for number in range(first, last + 1)]
    offset = start - first * _BLOCK
    return torch.cat(blocks)[offset : offset + samples]


def _block(seed: int, stream: int, number: int) -> Tensor:
    mixed = _mix(_mix(_mix(seed) ^ stream) ^ number)
    return torch.randn(_BLOCK, generator=torch.Generator().manual_seed(mixed >> 1))


def _mix(value: int) -> int:
    """SplitMix64 finalizer: neighbouring numbers become unrelated ones (Steele, Lea & Flood 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
