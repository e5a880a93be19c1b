"""The two ways to compute each logarithm agree, and each undoes itself."""

from __future__ import annotations

import math

import pytest
import torch

from diffwave.mel.logarithms import LOGARITHMS, compress, expand, from_nepers, to_nepers

# Within the 100 dB of db01.
MAGNITUDES = torch.logspace(-3.9, 0.9, 97, dtype=torch.float64)
BY_HAND = {
    "linear": lambda x: x,
    "ln": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "db": lambda x: 20 * math.log10(x),
    "db01": lambda x: (20 * math.log10(x) - 20 + 100) / 100,
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_values_are_those_of_the_formula_and_come_back(kind: str) -> None:
    values = torch.tensor([BY_HAND[kind](x) for x in MAGNITUDES.tolist()], dtype=torch.float64)
    torch.testing.assert_close(from_nepers(MAGNITUDES.log(), kind), values, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(to_nepers(values, kind), MAGNITUDES.log(), rtol=1e-12, atol=1e-12)
    assert set(BY_HAND) == {*LOGARITHMS, "linear"}


@pytest.mark.parametrize("kind", ["ln", "log10", "db01"])
def test_compress_and_expand_are_the_same_logarithm(kind: str) -> None:
    values = compress(MAGNITUDES, kind)
    torch.testing.assert_close(values, from_nepers(MAGNITUDES.log(), kind), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(expand(values, kind), MAGNITUDES, rtol=1e-12, atol=0)


def test_db01_is_clipped() -> None:
    far = torch.tensor([1e-7, 1e3], dtype=torch.float64)
    assert compress(far, "db01").tolist() == from_nepers(far.log(), "db01").tolist() == [0, 1]
