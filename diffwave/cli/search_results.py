"""What a search for schedules found: the record beside the checkpoint, and the table or JSON at the end."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffwave
from diffwave.cli.tables import table

if TYPE_CHECKING:
    from diffwave.schedule_search import Trial

LOG_NAME = "schedule-search.json"
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


@dataclass(frozen=True)
class SearchSettings:
    """How schedules are judged.

    Args:
        field: where the checkpoint keeps what is found: ``schedules`` or ``guided_schedules``.
        sampler: that walks along them.
        consistency: mel-consistency iterations at the end.
        consistency_at: where else it works: ``end`` (nowhere), ``steps`` or ``warm``.
        refinements: rounds of the refiner after that.
        objective: weight of each distance.
        evaluations: for each number of calls, at most.
        utterances: names of the recordings.
        seconds: of each, at most.
        seed: of the noise.
        device, backend, precision: what the network ran on.
    """

    field: str
    sampler: str
    consistency: int
    consistency_at: str
    refinements: int
    objective: dict[str, float]
    evaluations: int
    utterances: list[str]
    seconds: float
    seed: int
    device: str
    backend: str
    precision: str


@dataclass(frozen=True)
class Scores:
    """Means over the utterances, None where nothing could be scored: PESQ-WB, and synchrony above the reference's."""

    pesq_wb: float | None = None
    synchrony: float | None = None


@dataclass(frozen=True)
class Found:
    """One search.

    Args:
        calls: number of network calls.
        previous: objective of the best known schedule of one call fewer, if there is one.
        trials: all that were tried, at least one; the first is the schedule that was in use.
        seconds: that the search took, without the scores.
        scores_before, scores_after: of the schedule in use and of the best.
    """

    calls: int
    previous: float | None
    trials: list[Trial]
    seconds: float
    scores_before: Scores = Scores()
    scores_after: Scores = Scores()

    @property
    def before(self) -> Trial:
        """The schedule that was in use."""
        return self.trials[0]

    @property
    def best(self) -> Trial:
        """The schedule to use; the first of equals."""
        return min(self.trials, key=lambda trial: trial.value)

    @property
    def no_better(self) -> bool:
        """Whether one call fewer does as well."""
        return self.previous is not None and self.best.value >= self.previous


def record(folder: Path, settings: SearchSettings, found: Found) -> None:
    """Write every trial to the folder, beside what earlier searches for other numbers of calls recorded.

    Raises:
        OSError: if it cannot be written.
    """
    from diffwave.files import write_text

    row = _row(found) | asdict(settings) | {"trials": [_trial(trial) for trial in found.trials]}
    kept = [old for old in _recorded(folder / LOG_NAME) if _key(old) != _key(row)]
    document = {"diffwave": diffwave.__version__, "searches": sorted([*kept, row], key=_key)}
    write_text(folder / LOG_NAME, json.dumps(document, indent=1, allow_nan=False) + "\n")


def _recorded(path: Path) -> list[dict[str, Any]]:
    """Searches of an earlier record; none if there is no record that can be read."""
    try:
        rows = [dict(row) for row in json.loads(path.read_text(encoding="utf-8"))["searches"]]
        return [row for row in rows if _key(row)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _key(row: dict[str, Any]) -> tuple[str, int]:
    return str(row["field"]), int(row["calls"])


def _row(found: Found) -> dict[str, Any]:
    return {
        "calls": found.calls,
        "steps_before": list(found.before.steps),
        "steps": list(found.best.steps),
        "distance_before": _finite(found.before.value),
        "distance": _finite(found.best.value),
        "distance_one_call_fewer": _finite(found.previous),
        "no_better_than_one_call_fewer": found.no_better,
        "scores_before": asdict(found.scores_before),
        "scores": asdict(found.scores_after),
        "evaluations": len(found.trials),
        "wall_seconds": found.seconds,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    return {"steps": list(trial.steps), "distance": _finite(trial.value), "origin": trial.origin}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def as_json(checkpoint: str, settings: SearchSettings, found: list[Found]) -> str:
    """The results for a program."""
    document = {"checkpoint": checkpoint, **asdict(settings), "searches": [_row(each) for each in found]}
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
