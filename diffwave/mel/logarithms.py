"""The logarithms that mels are kept in: from magnitudes, back to them, and from one to another by way of nepers.

A neper is a natural logarithm of a magnitude. :func:`compress` and :func:`expand` compute as the code that a convention
is known from does, to the bit; :func:`to_nepers` and :func:`from_nepers` by the slope and offset of each logarithm.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# lmnt-com/diffwave preprocess.py, db01: 20 log10(mel) - 20, then (x + 100) / 100 clipped to [0, 1].
_DB_REFERENCE = 20.0
_DB_RANGE = 100.0
_SMALLEST = 1e-10  # of linear magnitudes, before their logarithm

# A value is slope * ln(magnitude) + offset.
LOGARITHMS = {
    "ln": (1.0, 0.0),
    "log10": (1 / math.log(10), 0.0),
    "log2": (1 / math.log(2), 0.0),
    "db": (20 / math.log(10), 0.0),
    "db01": (20 / _DB_RANGE / math.log(10), 1 - _DB_REFERENCE / _DB_RANGE),
}


def compress(magnitude: Tensor, kind: str) -> Tensor:
    """Positive magnitudes to one of :data:`LOGARITHMS`, or ``linear``, which leaves them; any shape."""
    if kind == "linear":
        return magnitude
    if kind == "ln":
        return magnitude.log()
    if kind == "log2":
        return magnitude.log2()
    if kind == "log10":
        return magnitude.log10()
    decibel = 20 * magnitude.log10()
    return decibel if kind == "db" else ((decibel - _DB_REFERENCE + _DB_RANGE) / _DB_RANGE).clamp(0, 1)


def expand(values: Tensor, kind: str) -> Tensor:
    """Undo :func:`compress`; what was clipped stays at the limit."""
    if kind == "linear":
        return values
    if kind == "ln":
        return values.exp()
    if kind in ("log2", "log10"):
        return torch.pow(2.0 if kind == "log2" else 10.0, values)
    return torch.pow(10.0, (values if kind == "db" else values * _DB_RANGE - _DB_RANGE + _DB_REFERENCE) / 20)


def to_nepers(values: Tensor, kind: str) -> Tensor:
    """Natural logarithm of the magnitudes that ``values`` stand for; any shape.

    Args:
        values: magnitudes themselves for ``linear``, else one of :data:`LOGARITHMS`.
        kind: which.
    """
    if kind == "linear":
        return values.clamp_min(_SMALLEST).log()
    slope, offset = LOGARITHMS[kind]
    return (values - offset) / slope


def from_nepers(nepers: Tensor, kind: str) -> Tensor:
    """Undo :func:`to_nepers`; ``db01`` is clipped to ``[0, 1]``."""
    if kind == "linear":
        return nepers.exp()
    slope, offset = LOGARITHMS[kind]
    values = nepers * slope + offset
    return values.clamp(0, 1) if kind == "db01" else values
