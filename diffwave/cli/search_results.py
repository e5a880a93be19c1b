"""What ``search-schedule`` prints at the end: a table, or JSON."""

from __future__ import annotations

import json

from diffwave.search.found import Found, SearchSettings, row
from diffwave.terminal.tables import table

_HEADER = [
    "calls",
    "distance before",
    "after",
    "PESQ-WB before",
    "after",
    "band synchrony before",
    "after",
    "evaluations",
    "wall s",
    "note",
    "trained steps",
]


def as_json(checkpoint: str, settings: SearchSettings, found: list[Found]) -> str:
    """The results for a program."""
    document = {"checkpoint": checkpoint, **settings.record(), "searches": [row(each) for each in found]}
    return json.dumps(document, indent=2, allow_nan=False)


def as_table(found: list[Found]) -> str:
    """The results for a person; distances and scores are means over the utterances."""
    return table(_HEADER, [_cells(each) for each in found])


def _cells(found: Found) -> list[str]:
    pairs = [
        (found.before.value, found.best.value, 4),
        (found.scores_before.pesq_wb, found.scores_after.pesq_wb, 3),
        (found.scores_before.synchrony, found.scores_after.synchrony, 3),
    ]
    return [
        str(found.calls),
        *(_number(value, decimals) for before, after, decimals in pairs for value in (before, after)),
        str(len(found.trials)),
        f"{found.seconds:.0f}",
        f"no better than {found.calls - 1}" if found.no_better else "",
        " ".join(f"{step:g}" for step in found.best.steps),
    ]


def _number(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"
