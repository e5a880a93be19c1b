"""How often the intervals of ``diffwave listen analyze`` hold the truth, in simulated tests where it is known.

    python -m benchmarks.listening [--long 4000]

Writes ``docs/benchmarks/listening.json`` and ``docs/benchmarks/listening.md``. One thread, about a minute.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.report import stamp, table, write
from diffwave.evaluation.statistics import (
    Interval,
    independent_interval,
    two_way_interval,
    two_way_share,
    wilson_interval,
)

SIMULATIONS = 500
SEED = 0


@dataclass(frozen=True)
class Spread:
    """Standard deviations of listeners, of items (some utterances are easier), and of everything else."""

    listener: float
    item: float
    residual: float

    @property
    def total(self) -> float:
        """Of a single rating."""
        return float(np.sqrt(self.listener**2 + self.item**2 + self.residual**2))


def crossed(rng: np.random.Generator, draws: int, listeners: int, items: int, spread: Spread) -> np.ndarray:
    """Scores around 0 with crossed random effects, ``[draws, listeners, items]``."""
    return (
        spread.listener * rng.standard_normal((draws, listeners, 1))
        + spread.item * rng.standard_normal((draws, 1, items))
        + spread.residual * rng.standard_normal((draws, listeners, items))
    )


def on_scale(scores: np.ndarray, low: int, high: int) -> np.ndarray:
    """Scores as a scale of whole numbers takes them."""
    return np.clip(np.round(scores), low, high)


def expected(mean: float, sd: float, low: int, high: int) -> float:
    """Mean of a normal variable after :func:`on_scale`: ``low`` and one for each step that it takes."""
    steps = np.arange(low, high) + 0.5
    return float(low + stats.norm.sf(steps, mean, sd).sum())


@dataclass(frozen=True)
class Setting:
    """A kind of test: statistic, sizes, mean and spread before the scale cuts and rounds, share of missing ratings."""

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
        "independent": (lambda votes, *_: wilson_interval(int(votes.sum()), len(votes)))
        if setting.what == "ab"
        else lambda values, *_: independent_interval(values),
    }
    bounds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for block in range(0, draws, SIMULATIONS):
        # A generator for each block: the first simulations are the same however many follow.
        rng = np.random.default_rng([seed, block])
        count = min(SIMULATIONS, draws - block)
        latent = setting.mean + crossed(rng, count, setting.listeners, setting.items, setting.spread)
        scores, truth = _observed(setting, latent)
        there = rng.random(scores.shape) >= setting.missing
        for rated, known in zip(scores, there, strict=True):
            listeners, items = (index.tolist() for index in np.nonzero(known))
            for kind, make in kinds.items():
                interval = make(rated[known], listeners, items)
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


def _coverage(bounds: np.ndarray, truth: float) -> dict[str, float]:
    held = (bounds[:, 0] <= truth) & (truth <= bounds[:, 1])
    return {
        "coverage": float(held[:SIMULATIONS].mean()),
        "coverage_long": float(held.mean()),
        "width": float((bounds[:, 1] - bounds[:, 0]).mean()),
    }


def page(results: dict[str, Any]) -> str:
    """The result page."""
    long = results["long"]
    header = ["statistic", "listeners × items", "mean", "spread", "missing", f"coverage ({SIMULATIONS})"]
    header += [f"coverage ({long})", "width", "independent: coverage", "width"]
    return "\n".join(
        [
            "# Intervals of listening tests",
            "",
            f"Generated by `{results['command']}`. Simulated listening tests whose truth is known: how many of the "
            f"95 % intervals hold it, in {SIMULATIONS} simulations each (standard error 1.0 point: so much another "
            f"seed moves it) and in {long}, of which those are the first (standard error "
            f"{100 * (0.95 * 0.05 / long) ** 0.5:.1f}). Scores are normal with random effects of listeners and items "
            "(their standard deviations, with that of the rest, in the column “spread”), rounded and cut to the scale; "
            "AB votes are for the first system where the score is positive. “Independent” is the usual interval that "
            "ignores who voted on what: Student's, for AB Wilson's. Width is the mean one, in points of the scale.",
            "",
            *table(header, map(_cells, results["coverage"]), 1),
            "",
            "Where neither listeners nor items differ (spread 0 / 0), the interval is wider than it would have to be: "
            "that they do not differ has to be found out from as few listeners and items as there are. Where most "
            "scores are at the end of the scale, as for the hidden reference (mean 100), their distribution is far "
            "from normal.",
            "",
        ]
    )


def _cells(row: dict[str, Any]) -> list[str]:
    s, ours, naive = row["setting"], row["ours"], row["independent"]
    return [
        s["what"],
        f"{s['listeners']} × {s['items']}",
        f"{s['mean']:g}",
        " / ".join(f"{value:g}" for value in s["spread"].values()),
        f"{100 * s['missing']:.0f} %",
        f"**{100 * ours['coverage']:.1f} %**",
        f"{100 * ours['coverage_long']:.1f} %",
        f"{ours['width']:.3g}",
        f"{100 * naive['coverage_long']:.1f} %",
        f"{naive['width']:.3g}",
    ]


def main() -> None:
    """Simulate everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", type=int, default=4000, help="simulations for each setting (default: 4000)")
    options = parser.parse_args()
    coverage = [{"setting": asdict(s), **simulate(s, options.long)} for s in SETTINGS]
    results = stamp("python -m benchmarks.listening") | {"long": options.long, "seed": SEED, "coverage": coverage}
    write("listening", results, page(results))


if __name__ == "__main__":
    main()
