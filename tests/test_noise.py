from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffwave.noise import white_noise

BLOCK = 1 << 15


@given(st.integers(0, 3 * BLOCK), st.integers(1, 2 * BLOCK))
@settings(max_examples=25, deadline=None)
def test_a_piece_is_the_same_whatever_it_is_cut_from(start: int, samples: int) -> None:
    whole = white_noise(5, 2, 5 * BLOCK)
    assert torch.equal(white_noise(5, 2, samples, start), whole[start : start + samples])


@pytest.mark.parametrize("samples", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_length_and_prefix_at_the_edges_of_a_block(samples: int) -> None:
    noise = white_noise(0, 6, samples)
    assert noise.shape == (samples,)
    assert noise.dtype == torch.float32
    assert torch.equal(noise, white_noise(0, 6, 3 * BLOCK)[:samples])


def test_the_global_generator_neither_matters_nor_moves() -> None:
    torch.manual_seed(1)
    first = white_noise(3, 1, 100)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(white_noise(3, 1, 100), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_seeds_streams_and_blocks_are_unrelated() -> None:
    # Also where seed and stream are exchanged, or their sums agree.
    keys = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (0, 2), (2**40, 0), (-1, 0)]
    rows = [white_noise(seed, stream, BLOCK) for seed, stream in keys]
    rows.append(white_noise(0, 0, BLOCK, BLOCK))  # the second block of the first
    correlation = torch.corrcoef(torch.stack(rows))
    off = correlation - torch.eye(len(rows))
    # Standard deviation 1 / sqrt(32768) = .0055; five of them.
    assert float(off.abs().max()) < 0.0277


def test_it_is_white_and_normal() -> None:
    noise = white_noise(11, 4, 1 << 19).double()
    error = len(noise) ** -0.5
    assert abs(float(noise.mean())) < 5 * error
    assert abs(float(noise.var()) - 1) < 5 * 2**0.5 * error
    assert abs(float(noise.pow(3).mean())) < 5 * 15**0.5 * error
    assert abs(float(noise.pow(4).mean()) - 3) < 5 * 96**0.5 * error
    for lag in (1, 2, BLOCK - 1, BLOCK):
        assert abs(float((noise[lag:] * noise[:-lag]).mean())) < 5 * error
    inside = float((noise.abs() < 1).double().mean())
    assert inside == pytest.approx(0.682689, abs=5 * error)
