"""How an utterance is divided into blocks, which are synthesized one after the other.

The division depends on the frames alone, not on when they arrive: so an utterance that comes in parts, of whatever
size, goes through the same computations as one that is there from the start, and memory does not grow with its length.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Block:
    """A part of an utterance; all in mel frames, counted from the start of the utterance.

    Args:
        start, stop: what is looked at, ``[start, stop)``.
        begin, end: what comes out, ``[begin, end)``.
    """

    start: int
    begin: int
    end: int
    stop: int


@dataclass(frozen=True)
class Layout:
    """Lengths of blocks, and how far each looks beyond its ends.

    Args:
        lengths: frames of the first blocks, each at least 1; the last of them goes for all that follow.
        behind, ahead: frames before and after a block that it looks at.

    The last block is longer by up to ``ahead`` frames, for it has nothing to look ahead to.

    >>> Layout((4, 8), behind=2, ahead=2).divide(17)
    [Block(start=0, begin=0, end=4, stop=6), Block(start=2, begin=4, end=12, stop=14), Block(start=10, begin=12, end=17, stop=17)]
    """  # noqa: E501 - what a doctest prints is one line

    lengths: tuple[int, ...]
    behind: int
    ahead: int

    def block(self, index: int, begin: int, frames: int, complete: bool) -> Block | None:
        """The block ``index``, which begins at frame ``begin``.

        Args:
            index: from 0.
            begin: where the block before ended.
            frames: how many there are so far.
            complete: whether there will be no more.

        Returns:
            None while frames are missing, and beyond the end.
        """
        start = max(0, begin - self.behind)
        end = begin + self.lengths[min(index, len(self.lengths) - 1)]
        # Not before it is known that this is not the last one: the end of the utterance must not be cut off from it.
        if end + self.ahead < frames:
            return Block(start, begin, end, end + self.ahead)
        return Block(start, begin, frames, frames) if complete and begin < frames else None

    def divide(self, frames: int) -> list[Block]:
        """All blocks of an utterance."""
        blocks: list[Block] = []
        while (block := self.block(len(blocks), blocks[-1].end if blocks else 0, frames, complete=True)) is not None:
            blocks.append(block)
        return blocks


def rising(first: int, longest: int) -> tuple[int, ...]:
    """Lengths that double from the first block on: the first audio is there soon, and long blocks cost less.

    >>> rising(32, 128)
    (32, 64, 128)
    """
    lengths = [min(first, longest)]
    while lengths[-1] < longest:
        lengths.append(min(2 * lengths[-1], longest))
    return tuple(lengths)


def windows(layout: Layout, parts: Iterable[Tensor], width: int = 1) -> Iterator[tuple[Block, Tensor]]:
    """Cut something that comes in parts into blocks.

    Args:
        layout: of the blocks.
        parts: in order, along the last axis, each a whole number of frames.
        width: elements of a frame along that axis.

    Yields:
        Every block, as soon as all that it looks at is there, and that.
    """
    kept, offset, index, begin = None, 0, 0, 0
    # After the last part comes None: only then is it known that there is no more.
    for part in itertools.chain(parts, [None]):
        if part is not None:
            kept = part if kept is None else torch.cat([kept, part], dim=-1)
        if kept is None:
            return
        while (
            block := layout.block(index, begin, offset + kept.shape[-1] // width, complete=part is None)
        ) is not None:
            # A copy: where a view lies in memory can change how a library rounds.
            yield block, kept[..., (block.start - offset) * width : (block.stop - offset) * width].clone()
            index, begin = index + 1, block.end
            unneeded = max(0, begin - layout.behind - offset)
            kept, offset = kept[..., unneeded * width :], offset + unneeded
