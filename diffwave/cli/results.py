"""What ``synthesize`` and ``baseline`` print at the end: a table, or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from diffwave.errors import one_line
from diffwave.evaluation.record import Result, row, totals
from diffwave.terminal.tables import table


def as_json(how: Mapping[str, Any] | None, results: list[Result], errors: list[str]) -> str:
    """The results for a program; paths as the user gave them."""
    rows = [row(result, how, str(result.source), str(result.output)) for result in results if how]
    return json.dumps({"outputs": rows, "errors": errors, **totals(results)}, indent=2)


def as_table(results: list[Result]) -> str:
    """The results for a person."""
    rows = [_cells(one_line(str(r.output)), [r], one_line("; ".join(r.notes))) for r in results]
    rows.append(_cells(f"{len(results)} file" + "s" * (len(results) != 1), results, ""))
    return table(["output", "audio s", "wall s", "real-time factor", "notes"], rows)


def _cells(name: str, results: list[Result], notes: str) -> list[str]:
    values = totals(results)
    factor = values["real_time_factor"]
    seconds = [f"{values['audio_seconds']:.2f}", f"{values['wall_seconds']:.2f}"]
    return [name, *seconds, "" if factor is None else f"{factor:.3f}", notes]
