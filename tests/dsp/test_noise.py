from __future__ import annotations

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffwave.dsp.noise import ROUNDS, philox, seed_words, white_noise

LONG = 1 << 15
ONES = 0xFFFFFFFF
PI = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0]  # its first hexadecimal digits
# philox4x32 of ten rounds in kat_vectors of Random123, the authors' distribution: counter, key, words.
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([ONES] * 4, [ONES] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (PI[:4], PI[4:], [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
]


def schedule(left: int, right: int, rounds: int = ROUNDS) -> list[tuple[int, int]]:
    return [((left + i * 0x9E3779B9) & ONES, (right + i * 0xBB67AE85) & ONES) for i in range(rounds)]


def philox_by_numbers(counter: list[int], key: list[int]) -> list[int]:
    """Salmon et al. 2011, figure 2, with whole numbers of any size."""
    a, b, c, d = counter
    left, right = key
    for _ in range(10):
        first, second = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (second >> 32) ^ b ^ left, second & ONES, (first >> 32) ^ d ^ right, first & ONES
        left, right = (left + 0x9E3779B9) & ONES, (right + 0xBB67AE85) & ONES
    return [a, b, c, d]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN, ids=["zeros", "ones", "pi"])
def test_known_answers_of_random123(counter: list[int], key: list[int], words: list[int]) -> None:
    got = philox([torch.tensor([word]) for word in counter], schedule(*key))
    assert [int(word) for word in got] == words
    assert philox_by_numbers(counter, key) == words


@given(st.lists(st.integers(0, ONES), min_size=6, max_size=6))
@settings(max_examples=50, deadline=None)
def test_it_equals_the_figure_in_whole_numbers(words: list[int]) -> None:
    got = philox([torch.tensor([word]) for word in words[:4]], schedule(*words[4:]))
    assert [int(word) for word in got] == philox_by_numbers(words[:4], words[4:])


@given(st.integers(0, 3 * LONG), st.integers(1, 2 * LONG))
@settings(max_examples=25, deadline=None)
def test_a_piece_is_the_same_whatever_it_is_cut_from(start: int, samples: int) -> None:
    whole = white_noise(5, 2, 5 * LONG)
    assert torch.equal(white_noise(5, 2, samples, start), whole[start : start + samples])


@pytest.mark.parametrize("samples", [0, 1, 2, 3, 4, 5, 31, 32, 33])
@pytest.mark.parametrize("start", [0, 1, 2, 3, 4, 2**34 - 5])
def test_length_and_beginning(samples: int, start: int) -> None:
    noise = white_noise(0, 6, samples, start)
    assert noise.shape == (samples,)
    assert noise.dtype == torch.float32
    assert torch.equal(noise, white_noise(0, 6, 100, start - 1 if start else 0)[bool(start) :][:samples])


def test_positions_beyond_32_bits_do_not_begin_anew() -> None:
    assert not torch.equal(white_noise(0, 0, 16, 2**34), white_noise(0, 0, 16))


@pytest.mark.parametrize("seed", [0, 1, -1, 2**40 + 3, 2**64 - 2])
def test_a_seed_may_be_a_tensor_that_is_read_when_the_noise_is_made(seed: int) -> None:
    words = torch.zeros(2, dtype=torch.int64)
    for word, value in zip(words, seed_words(seed), strict=True):
        word.fill_(value)
    assert torch.equal(white_noise(words, 3, 1000, 7), white_noise(seed, 3, 1000, 7))


def test_the_global_generator_neither_matters_nor_moves() -> None:
    torch.manual_seed(1)
    first = white_noise(3, 1, 100)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(white_noise(3, 1, 100), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_seeds_streams_and_positions_are_unrelated() -> None:
    # Also where seed and stream are exchanged, or their sums agree.
    keys = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (0, 2), (2**40, 0), (2**32, 0), (0, 2**32), (-1, 0)]
    rows = [white_noise(seed, stream, LONG) for seed, stream in keys]
    rows += [white_noise(0, 0, LONG, start) for start in (1, 2, 3, 4, LONG, 2**34)]
    correlation = torch.corrcoef(torch.stack(rows))
    off = correlation - torch.eye(len(rows))
    # Standard deviation 1 / sqrt(32768) = .0055; five of them.
    assert float(off.abs().max()) < 0.0277
    # Nor are their sizes: what depends on one another need not correlate.
    sizes = torch.corrcoef(torch.stack(rows).square()) - torch.eye(len(rows))
    assert float(sizes.abs().max()) < 0.0277


def test_it_is_white_and_normal() -> None:
    noise = white_noise(11, 4, 1 << 19).double()
    error = len(noise) ** -0.5
    assert abs(float(noise.mean())) < 5 * error
    assert abs(float(noise.var()) - 1) < 5 * 2**0.5 * error
    assert abs(float(noise.pow(3).mean())) < 5 * 15**0.5 * error
    assert abs(float(noise.pow(4).mean()) - 3) < 5 * 96**0.5 * error
    for lag in (1, 2, 3, 4, 8, LONG):
        assert abs(float((noise[lag:] * noise[:-lag]).mean())) < 5 * error
        squares = noise.square() - 1
        assert abs(float((squares[lag:] * squares[:-lag]).mean())) < 5 * 2 * error
    inside = float((noise.abs() < 1).double().mean())
    assert inside == pytest.approx(0.682689, abs=5 * error)
    assert 4.5 < float(noise.abs().max()) < 6.7


@pytest.mark.parametrize("lane", range(4))
def test_every_lane_is_normal_by_kolmogorov_and_smirnov(lane: int) -> None:
    noise = white_noise(0, 0, 1 << 18)[lane::4].double().numpy()
    assert scipy.stats.kstest(noise, "norm").pvalue > 1e-3
    assert scipy.stats.kstest(noise**2, "chi2", args=(1,)).pvalue > 1e-3


def test_seeds_give_normal_first_numbers() -> None:
    """Neighbouring seeds: the very first numbers of 2000 of them are a sample of the normal distribution."""
    first = torch.stack([white_noise(seed, 6, 4) for seed in range(2000)]).flatten().double().numpy()
    assert scipy.stats.kstest(first, "norm").pvalue > 1e-3


@pytest.mark.parametrize(("seed", "stream", "start"), [(1.5, 0, 0), (0, -1, 0), (0, 0, -3)])
def test_what_has_no_noise_is_refused(seed: float, stream: int, start: int) -> None:
    with pytest.raises(ValueError, match="whole number as seed"):
        white_noise(seed, stream, 4, start)  # type: ignore[arg-type]
