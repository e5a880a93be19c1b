"""How the Triton kernels cut a layer into tiles; no Triton needed to read it.

Letters as in ``diffwave.kernels.layers``.
"""

from __future__ import annotations

from dataclasses import dataclass

# Least depth and width of a tensor-core product, and most channels whose accumulators fit the registers.
SMALLEST, LARGEST = 16, 128


@dataclass(frozen=True)
class Tile:
    """The part of a layer that one program computes.

    Args:
        block: positions of a program.
        warps: of a program; a multiple of 4 makes Hopper's warp-group products possible.
        stages: depth of the software pipeline over the reduction, 2 or more.
        registers: limit for a thread, so that a multiprocessor of 65536 registers holds 16 warps.
    """

    block: int
    warps: int
    stages: int
    registers: int = 128

    def shared_bytes(self, channels: int) -> int:
        """Shared memory of the pipeline: in each stage a tile of the input, and of the weights of both halves."""
        numbers = self.block * chunk(channels) + chunk(channels) * 2 * width(channels)
        return 2 * self.stages * numbers


# By width. Chosen from registers, spills and shared memory of the compiled kernels (tests/triton_compiled.py), not
# from timings: 128 positions halve what 64 would read of the weights, and 16 warps fill a multiprocessor, either two
# programs of 8 or, where gate and signal are 2 x 128 float32 numbers a position, one of 16.
TILES = {16: Tile(128, 8, 3), 32: Tile(128, 8, 3), 64: Tile(128, 8, 3), 128: Tile(128, 16, 3)}

# Of the gate's gradient: the smallest that spills nothing at any width.
GATE_BACKWARD = Tile(64, 8, 3, registers=255)

# Of the kernel that holds its weights: one program a multiprocessor.
RESIDENT = Tile(128, 8, 2, registers=255)


def resident_shared_bytes(channels: int) -> int | None:
    """Shared memory of the kernel that holds its weights; None above 64 channels, where they do not fit."""
    columns = width(channels)
    if columns > 64:
        return None
    weights = 2 * 8 * columns * columns  # bfloat16
    tiles = 2 * 9 * RESIDENT.block * columns  # x at three taps, projections, skips; some twice, for the next tile
    vectors = 4 * 10 * columns  # biases and what the shift adds, float32
    return weights + tiles + vectors


def tile_for(channels: int) -> Tile:
    """The tile for so many channels."""
    return TILES[width(channels)]


def width(channels: int) -> int:
    """Channels padded to a power of two, as Triton needs it, 16 or more.

    >>> [width(channels) for channels in (8, 64, 96)]
    [16, 64, 128]
    """
    return max(1 << (channels - 1).bit_length(), SMALLEST)


def chunk(channels: int) -> int:
    """Channels that one product sums over: the largest power of two that divides them, 64 at most.

    >>> [chunk(channels) for channels in (32, 96, 128)]
    [32, 32, 64]
    """
    return min(channels & -channels, 64)
