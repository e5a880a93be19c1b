"""How often the intervals of listening tests hold the truth, in simulations where it is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from diffwave.evaluation.statistics import (
    Interval,
    independent_interval,
    two_way_interval,
    two_way_share,
    wilson_interval,
)
from simulated_listeners import Spread, crossed, expected, on_scale

SIMULATIONS = 500
SEED = 0


@dataclass(frozen=True)
class Setting:
    """A kind of test whose intervals are counted.

    Args:
        what: the statistic: ``mushra``, ``difference``, ``acr``, ``cmos`` or ``ab``.
        listeners, items: how many.
        mean: of the scores before the scale cuts and rounds them.
        spread: of the scores.
        missing: share of the ratings that are not there.
    """

    what: str
    listeners: int
    items: int
    mean: float
    spread: Spread
    missing: float = 0.0


# Spreads as listening tests have them; those of differences are what listeners and items have with systems.
SETTINGS = (
    Setting("mushra", 12, 8, 60, Spread(8, 6, 10)),
    Setting("mushra", 16, 10, 60, Spread(8, 6, 10)),
    Setting("mushra", 16, 10, 60, Spread(8, 6, 10), missing=0.3),
    Setting("mushra", 20, 12, 60, Spread(12, 4, 8)),
    Setting("mushra", 20, 12, 60, Spread(4, 10, 12)),
    Setting("mushra", 16, 10, 88, Spread(8, 6, 10)),
    Setting("mushra", 16, 10, 15, Spread(8, 6, 10)),
    Setting("mushra", 16, 10, 100, Spread(3, 2, 5)),
    Setting("difference", 12, 8, 5, Spread(5, 5, 12)),
    Setting("difference", 16, 10, 0, Spread(6, 5, 14)),
    Setting("difference", 20, 12, 3, Spread(4, 8, 12), missing=0.2),
    Setting("difference", 16, 10, 0, Spread(0, 0, 14)),
    Setting("acr", 16, 10, 3.4, Spread(0.4, 0.3, 0.7)),
    Setting("acr", 20, 12, 4.2, Spread(0.5, 0.3, 0.7)),
    Setting("acr", 40, 20, 2.6, Spread(0.4, 0.4, 0.8), missing=0.7),
    Setting("cmos", 16, 10, 0.0, Spread(0.5, 0.4, 1.0)),
    Setting("cmos", 20, 12, 0.7, Spread(0.5, 0.4, 1.0)),
    Setting("ab", 16, 10, 0.0, Spread(0.5, 0.4, 1.0)),
    Setting("ab", 20, 12, 0.6, Spread(0.5, 0.4, 1.0)),
    Setting("ab", 20, 12, 1.5, Spread(0.5, 0.4, 1.0)),
)
_SCALES = {"mushra": (0, 100), "acr": (1, 5), "cmos": (-3, 3)}


def simulate(setting: Setting, draws: int, seed: int = SEED) -> dict[str, Any]:
    """Share of intervals that hold the truth.

    Returns:
        For ours and for the interval of independent ratings: coverage of the first ``SIMULATIONS`` and of all
        simulations, and the mean width.
    """
    kinds: dict[str, Callable[[np.ndarray, list[int], list[int]], Interval]] = {
        "ours": two_way_share if setting.what == "ab" else two_way_interval,
        "independent": _independent_share if setting.what == "ab" else _independent,
    }
    bounds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for block in range(0, draws, SIMULATIONS):
        # A generator for each block: the first simulations are the same however many follow.
        rng = np.random.default_rng([seed, block])
        count = min(SIMULATIONS, draws - block)
        latent = setting.mean + crossed(rng, count, setting.listeners, setting.items, setting.spread)
        scores, truth = _observed(setting, latent)
        there = rng.random(scores.shape) >= setting.missing
        for table, known in zip(scores, there, strict=True):
            listeners, items = (index.tolist() for index in np.nonzero(known))
            for kind, make in kinds.items():
                interval = make(table[known], listeners, items)
                bounds[kind].append((interval.low, interval.high))
    return {kind: _coverage(np.array(found), truth) for kind, found in bounds.items()}


def _observed(setting: Setting, latent: np.ndarray) -> tuple[np.ndarray, float]:
    """What listeners answer, and its true mean."""
    if setting.what == "difference":
        return latent, setting.mean
    if setting.what == "ab":
        return (latent > 0).astype(float), float(stats.norm.cdf(setting.mean / setting.spread.total))
    scale = _SCALES[setting.what]
    return on_scale(latent, *scale), expected(setting.mean, setting.spread.total, *scale)


def _independent(values: np.ndarray, _listeners: list[int], _items: list[int]) -> Interval:
    return independent_interval(values)


def _independent_share(votes: np.ndarray, _listeners: list[int], _items: list[int]) -> Interval:
    return wilson_interval(int(votes.sum()), len(votes))


def _coverage(bounds: np.ndarray, truth: float) -> dict[str, float]:
    held = (bounds[:, 0] <= truth) & (truth <= bounds[:, 1])
    return {
        "coverage": float(held[:SIMULATIONS].mean()),
        "coverage_long": float(held.mean()),
        "width": float((bounds[:, 1] - bounds[:, 0]).mean()),
    }
