"""White noise as a function of (seed, stream, position).

An utterance's noise depends neither on what is synthesized with it, nor on how long it is, nor on the device. Philox
(Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") turns each position's number into random integers
without any state, so every device draws its own, and the integers are the same bits everywhere. Box and Muller's
formula (1958) makes normal numbers of them, equal to the rounding of logarithm, sine and cosine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDS = 10
_WORD = 0xFFFFFFFF
# Multipliers and Weyl increments of Philox-4x32 (Salmon et al. 2011, section 3.3).
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
# Numbers of one counter.
_LANES = 4
# Two words of the key of a seed: 64 bits.
Key = tuple[int, int] | Tensor


def white_noise(
    seed: int | Tensor, stream: int, samples: int, start: int = 0, device: torch.device | str = "cpu"
) -> Tensor:
    """Standard normal noise at positions ``start`` to ``start + samples``, float32, shape ``[samples]``.

    Args:
        seed: of the output, any whole number (its lowest 64 bits count); or what :func:`seed_words` makes of it, int64
            ``[2]`` on ``device``, which a recorded program can read anew every time it runs.
        stream: number of the noise within an output, such as the index of a sampling step; not negative.
        samples: how many.
        start: first position; not negative.
        device: where the noise is made.

    Raises:
        ValueError: if the seed is no whole number, or stream or start are negative.
    """
    if not isinstance(seed, int | Tensor) or stream < 0 or start < 0:
        raise ValueError(
            f"noise: expected a whole number as seed, and stream and start from 0; got {seed!r}, {stream} and {start}"
        )
    first = start // _LANES
    blocks = -(-(start + samples) // _LANES) - first
    number = torch.arange(first, first + blocks, dtype=torch.int64, device=device)
    words = seed if isinstance(seed, Tensor) else seed_words(int(seed))
    streams = (torch.full_like(number, word) for word in (stream & _WORD, stream >> 32 & _WORD))
    counter = (number & _WORD, number >> 32, *streams)
    normal = _normal(philox(counter, _schedule(words)))
    offset = start - first * _LANES
    return normal[offset : offset + samples]


def seed_words(seed: int) -> tuple[int, int]:
    """The lower and the upper 32 of a seed's lowest 64 bits."""
    return seed & _WORD, seed >> 32 & _WORD


def philox(counter: Sequence[Tensor], keys: Sequence[tuple[Tensor | int, Tensor | int]]) -> tuple[Tensor, ...]:
    """Philox-4x32: four random words of each counter (Salmon et al. 2011, section 3.3 and figure 2).

    Args:
        counter: four words in ``[0, 2**32)``, int64, of one shape.
        keys: two words for each round.

    Returns:
        Four words in ``[0, 2**32)``, int64, of the counter's shape.
    """
    a, b, c, d = counter
    for left, right in keys:
        (high0, low0), (high1, low1) = _multiply(a, _MULTIPLIERS[0]), _multiply(c, _MULTIPLIERS[1])
        # Products are new tensors, so they can be changed in place: up to four times as fast with long signals.
        a, b = high1.bitwise_xor_(b).bitwise_xor_(left), low1
        c, d = high0.bitwise_xor_(d).bitwise_xor_(right), low0
    return a, b, c, d


def _multiply(word: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """Upper and lower word of a product of 64 bits, in signed arithmetic."""
    # With multiplier - 2^32 in its place the product stays inside 63 bits; what is missing is word * 2^32.
    product = word * (multiplier - (1 << 32))
    return (product >> 32).add_(word), product.bitwise_and_(_WORD)


def _schedule(words: Key) -> list[tuple[Tensor | int, Tensor | int]]:
    """The key of each round: the seed's two words, raised by a constant every time."""
    if isinstance(words, Tensor):
        # All rounds at once, and as tensors of no dimension, which meet any shape: [ROUNDS, 2].
        rounds = torch.arange(ROUNDS, dtype=torch.int64, device=words.device).unsqueeze(1)
        left, right = ((words[i] + rounds[:, 0] * _INCREMENTS[i] & _WORD).unbind() for i in (0, 1))
        return list(zip(left, right, strict=True))
    return [((words[0] + i * _INCREMENTS[0]) & _WORD, (words[1] + i * _INCREMENTS[1]) & _WORD) for i in range(ROUNDS)]


def _normal(words: Sequence[Tensor]) -> Tensor:
    """Box and Muller's formula on four words ``[K]`` each: two radii, two angles, four numbers, ``[4 K]``."""
    first, second, third, fourth = words
    # In (0, 1], so that the logarithm is finite: the largest radius is sqrt(2 ln 2^32) = 6.7.
    uniform = (torch.stack([first, third]) + 1).float() * 2.0**-32  # [2, K]
    radius = uniform.log_().mul_(-2).sqrt_()
    # In [-pi, pi), where float32 is finer than in [0, 2 pi).
    angle = (torch.stack([second, fourth]) - (1 << 31)).float() * (math.pi * 2.0**-31)
    numbers = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1)  # [2, K, 2]
    return numbers.transpose(0, 1).reshape(-1)
