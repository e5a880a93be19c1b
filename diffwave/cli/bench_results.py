"""What ``diffwave bench`` found: as text for a terminal, as Markdown, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import diffwave
from diffwave.errors import one_line
from diffwave.speed.roofline import Roofline
from diffwave.speed.timing import MachineLimits, Spread
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


@dataclass(frozen=True)
class Setting:
    """What was measured, and where.

    Args:
        model: name of the checkpoint or configuration.
        parameters: of its network.
        refiner_parameters: of its refiner, which speaks with mel consistency alone; 0 without one.
        sample_rate: in Hz.
        steps: network calls.
        backend, precision: what ran the residual layers, and in which dtype.
        device, machine: what computed, and its name.
        threads: of the processor.
        torch: version of PyTorch.
        repeats: timed calls for each figure.
    """

    model: str
    parameters: int
    refiner_parameters: int
    sample_rate: int
    steps: int
    backend: str
    precision: str
    device: str
    machine: str
    threads: int
    torch: str
    repeats: int


@dataclass(frozen=True)
class BenchRow:
    """One case.

    Args:
        batch: outputs made at once.
        audio_seconds: length of each.
        consistency: mel-consistency iterations.
        refinements: rounds of the refiner after them.
        wall: seconds of a call; None if there was not enough memory.
        memory: how far it rose during a call, in bytes; None if unknown.
        best: what the network alone would take at the machine's limits; None with mel consistency, whose Fourier
            transforms are not counted.
    """

    batch: int
    audio_seconds: float
    consistency: int
    refinements: int
    wall: Spread | None
    memory: int | None
    best: Roofline | None

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of work for each second of audio."""
        return None if self.wall is None else self.wall.median / (self.batch * self.audio_seconds)

    @property
    def reached(self) -> float | None:
        """Share of the machine's limit."""
        return None if self.wall is None or self.best is None else self.best.seconds / self.wall.median


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
        one_line(f"{setting.model}: {parameters}, {setting.sample_rate} Hz, {setting.steps} steps"),
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
