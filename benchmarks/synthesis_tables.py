"""Tables of ``benchmarks/synthesis.py``: a row for each system at one size of output."""

from __future__ import annotations

from typing import Any

_HEADER = (
    "system",
    "seconds, median",
    "min to max",
    "real-time factor",
    "times real time",
    "speed",
    "memory, MiB",
    "GFLOP for 1 s",
    "of the limit",
)


def headline(table: dict[str, Any], device: str) -> str:
    """Heading of a table."""
    where = f"{table['threads']} thread" + "s" * (table["threads"] > 1) if device == "cpu" else "GPU"
    size = f"{table['seconds']:g} s" if table["batch"] == 1 else f"{table['batch']} outputs of {table['seconds']:g} s"
    return f"{where}, {size}" + ", other sizes of the network" * (table["what"] == "sizes")


def system_table(table: dict[str, Any]) -> list[str]:
    """The rows, what they are compared with, and the limits of the machine."""
    lines = [f"| {' | '.join(_HEADER)} |", "|---|" + "---:|" * (len(_HEADER) - 1)]
    lines += [f"| {' | '.join(_cells(row))} |" for row in table["systems"].values()]
    notes = [f"Load average before: {table['load_before']:.1f}."]
    notes += [
        f"Limits in {precision}: {found['operations'] / 1e9:,.0f} GFLOP/s and {found['traffic'] / 1e9:,.1f} GB/s."
        for precision, found in table["roofline"].items()
    ]
    slow = [f"{row['warm_up']:.0f} s of {_label(row)}" for row in table["systems"].values() if _is_slow_to_start(row)]
    notes += [f"The first call, with what it builds, took {', '.join(slow)}."] if slow else []
    return [*lines, "", " ".join(notes)]


def _is_slow_to_start(row: dict[str, Any]) -> bool:
    """Whether the first call took much longer than the others."""
    return "error" not in row and row["warm_up"] > 3 * row["seconds"]["median"] + 1


def _cells(row: dict[str, Any]) -> list[str]:
    if "error" in row:
        return [row["label"], f"did not run: {row['error'].replace('|', '/')}", *[""] * (len(_HEADER) - 2)]
    seconds, speed = row["seconds"], row["speed"]
    factor = seconds["median"] / row["audio"]
    return [
        _label(row),
        f"{seconds['median']:.3g}",
        f"{seconds['min']:.3g} to {seconds['max']:.3g}",
        f"{factor:.3g}",
        f"{1 / factor:,.3g}",
        "1"
        if speed["min"] == speed["max"] == 1
        else f"{speed['median']:.2f} ({speed['min']:.2f} to {speed['max']:.2f})",
        "" if row.get("memory") is None else f"{row['memory'] / 2**20:,.0f}",
        *_limit(row),
    ]


def _label(row: dict[str, Any]) -> str:
    """What ran; where ``auto`` chose, what it has chosen."""
    if "backend" not in row or f"`{row['backend']}" in row["label"]:
        return str(row["label"])
    return f"{row['label']} (`{row['backend']}`)"


def _limit(row: dict[str, Any]) -> list[str]:
    best = row.get("roofline")
    if not best or "error" in best:
        return ["", ""]
    work = best["work"]["operations"] / 1e9 / row["audio"]
    return [f"{work:,.1f}", f"{best['seconds'] / row['seconds']['median']:.0%} ({best['limit']})"]
