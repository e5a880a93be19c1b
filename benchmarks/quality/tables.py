"""Scores as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.quality.systems import DEFAULT
from benchmarks.report import table as markdown
from diffwave.evaluation.metrics import METRICS

COLUMNS = ("pesq_wb", "estoi", "mr_stft_aligned", "log_mel", "synchrony", "real_time_factor")
ENERGY = ("level", "bias_low", "bias_mid", "bias_high", "silence")
PITCH = ("periodicity_pyin", "voicing_f1", "f0_rmse")


def table(results: dict[str, Any], columns: Sequence[str] = COLUMNS, names: Sequence[str] | None = None) -> str:
    """Scores as a Markdown table.

    Args:
        results: what ``diffwave evaluate`` found, with ``labels``.
        columns: names of metrics.
        names: of the systems to show; all if not given.
    """
    rows = [
        [results["labels"][system["name"]], *(cell(name, system["scores"][name]) for name in columns)]
        for system in results["systems"]
        if names is None or system["name"] in names
    ]
    return "\n".join(markdown(["system", *(METRICS[name].label for name in columns)], rows, 1))


def cell(name: str, score: dict[str, Any]) -> str:
    """Mean and half of the interval; of the real-time factor the median."""
    if score["mean"] is None:
        return "—"
    digits = METRICS[name].decimals
    if name == "real_time_factor":
        return f"{score['median']:.{digits}f}"
    sign = "+" if METRICS[name].better == "zero" else ""
    mean = f"{score['mean']:{sign}.{digits}f}"
    return mean if score["low"] is None else f"{mean} ± {(score['high'] - score['low']) / 2:.{digits}f}"


def paired(results: dict[str, Any], other: str, title: str) -> list[str]:
    """Paired differences of the default from another system; nothing if they were not compared."""
    found = [row for row in results["comparisons"] if (row["a"], row["b"]) == (DEFAULT, other)]
    if not found:
        return []
    header = ["metric", f"default − {results['labels'][other]}"]
    return [
        f"{title}, paired by utterance (where 0 is best, of absolute values):",
        "",
        *markdown(
            [*header, "95 % interval", "utterances won", "p (Wilcoxon, Holm)"], [_difference(r) for r in found], 1
        ),
        "",
    ]


def _difference(row: dict[str, Any]) -> list[str]:
    digits = METRICS[row["metric"]].decimals
    # One speaker has no interval, and fewer than six no p.
    interval = "—" if row["low"] is None else f"[{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"
    p = "—" if row["p_holm"] is None else "< .001" if row["p_holm"] < 0.001 else f"{row['p_holm']:.3f}"
    won = f"{row['a_better']} of {row['n']}"
    return [METRICS[row["metric"]].label, f"{row['difference']:+.{digits}f}", interval, won, p]


def failures(systems: Sequence[dict[str, Any]], labels: dict[str, str]) -> list[str]:
    """Which systems have utterances without all scores; their means are of the others. Nothing if none has."""
    missing = {s["name"]: s["rows"] - s["status"]["ok"] for s in systems if s["status"]["ok"] < s["rows"]}
    if not missing:
        return []
    said = "; ".join(f"{labels[name]}: {count}" for name, count in missing.items())
    return [f"Utterances that lack a score, and are left out of its mean: {said}.", ""]
