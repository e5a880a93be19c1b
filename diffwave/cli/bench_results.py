"""What ``diffwave bench`` found: as text for a terminal, as Markdown, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import diffwave
from diffwave.errors import one_line
from diffwave.speed.benchmark import BenchRow, Setting
from diffwave.speed.timing import MachineLimits
from diffwave.terminal.tables import table

_HEADER = [
    "outputs",
    "median s",
    "lowest",
    "highest",
    "RTF",
    "x real time",
    "memory MiB",
    "GFLOP",
    "GB",
    "compute s",
    "memory s",
    "of the limit",
]


def as_text(setting: Setting, limits: MachineLimits, rows: list[BenchRow]) -> str:
    """For a terminal."""
    return "\n".join([*_preamble(setting, limits), "", table(_HEADER, [_cells(row) for row in rows]), "", *_notes()])


def as_markdown(setting: Setting, limits: MachineLimits, rows: list[BenchRow]) -> str:
    """For a page."""
    lines = [f"# Speed of {setting.model}", "", *(f"- {line}" for line in _preamble(setting, limits)), ""]
    lines += [f"| {' | '.join(_HEADER)} |", "|---|" + "---:|" * (len(_HEADER) - 1)]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    return "\n".join([*lines, "", " ".join(_notes()), ""])


def as_json(setting: Setting, limits: MachineLimits, rows: list[BenchRow]) -> str:
    """Every figure, for a program."""
    document = {"diffwave": diffwave.__version__, **asdict(setting), "limits": asdict(limits)}
    return json.dumps(document | {"rows": [_document(row) for row in rows]}, indent=2) + "\n"


def _document(row: BenchRow) -> dict[str, Any]:
    found = asdict(row) | {"real_time_factor": row.real_time_factor, "reached": row.reached}
    if row.best is not None:
        found["best"] |= {"seconds": row.best.seconds, "limit": row.best.limit}
    return found


def _preamble(setting: Setting, limits: MachineLimits) -> list[str]:
    plural = "s" * (setting.threads != 1)
    parameters = f"{setting.parameters:,} parameters"
    if setting.refiner_parameters:
        parameters += f" and {setting.refiner_parameters:,} of the refiner"
    return [
        one_line(f"{setting.model}: {parameters}, {setting.sample_rate} Hz, mels {setting.mel}, {setting.steps} steps"),
        f"backend {setting.backend}, {setting.precision}, on {setting.device} ({setting.machine}), "
        f"{setting.threads} thread{plural}, torch {setting.torch}",
        f"limits measured in this run: {limits.operations / 1e9:,.0f} GFLOP/s in {setting.precision}, "
        f"{limits.traffic / 1e9:,.1f} GB/s",
    ]


def _notes() -> list[str]:
    return [
        "RTF: seconds of work for each second of audio. Memory: how far it rose during a call.",
        "GFLOP and GB: convolutions and matrix products of the network, and what its layers must read and write at "
        "least; compute s and memory s: the least time for either at the limits above.",
        "Of the limit: the larger of those two times, as a share of the median; a kernel that saves products can "
        "exceed it. Mel consistency and the refiner are not counted.",
    ]


def _cells(row: BenchRow) -> list[str]:
    name = f"{row.batch} x {row.audio_seconds:.3g} s" + ", consistency" * bool(row.consistency)
    name += ", refiner" * bool(row.refinements)
    return [name, *_measured(row), *_best(row)]


def _measured(row: BenchRow) -> list[str]:
    memory = "" if row.memory is None else f"{row.memory / 2**20:,.0f}"
    if row.wall is None or row.real_time_factor is None:
        return ["no memory", "", "", "", "", memory]
    times = [f"{value:.4g}" for value in (row.wall.median, row.wall.low, row.wall.high)]
    return [*times, f"{row.real_time_factor:.3g}", f"{1 / row.real_time_factor:,.3g}", memory]


def _best(row: BenchRow) -> list[str]:
    if row.best is None:
        return [""] * 5
    work = [f"{row.best.work.operations / 1e9:,.1f}", f"{row.best.work.traffic / 1e9:,.2f}"]
    least = [f"{seconds:.3g}" for seconds in (row.best.compute_seconds, row.best.memory_seconds)]
    return [*work, *least, "" if row.reached is None else f"{row.reached:.0%} ({row.best.limit})"]
