"""What a search for schedules found, and the record of it beside the checkpoint."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffwave

if TYPE_CHECKING:
    from diffwave.search.schedules import ScheduleTrial

LOG_NAME = "schedule-search.json"
MOST_CALLS = 12  # that are searched for unless others are asked for


@dataclass(frozen=True)
class SearchSettings:
    """How schedules are judged.

    Args:
        how: what the outputs depend on beside the steps, as the vocoder records it.
        field: where the checkpoint keeps what is found: ``schedules`` or ``guided_schedules``.
        objective: weight of each distance.
        evaluations: for each number of calls, at most.
        utterances: names of the recordings.
        seconds: of each, at most.
    """

    how: dict[str, Any]
    field: str
    objective: dict[str, float]
    evaluations: int
    utterances: list[str]
    seconds: float

    def record(self) -> dict[str, Any]:
        """The settings in one level, ready for JSON."""
        values = asdict(self)
        return {**values.pop("how"), **values}


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
    trials: list[ScheduleTrial]
    seconds: float
    scores_before: Scores = Scores()
    scores_after: Scores = Scores()

    @property
    def before(self) -> ScheduleTrial:
        """The schedule that was in use."""
        return self.trials[0]

    @property
    def best(self) -> ScheduleTrial:
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

    entry = row(found) | settings.record() | {"trials": [_trial(trial) for trial in found.trials]}
    kept = [old for old in _recorded(folder / LOG_NAME) if _key(old) != _key(entry)]
    document = {"diffwave": diffwave.__version__, "searches": sorted([*kept, entry], key=_key)}
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


def row(found: Found) -> dict[str, Any]:
    """One search of the record, ready for JSON."""
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


def _trial(trial: ScheduleTrial) -> dict[str, Any]:
    return {"steps": list(trial.steps), "distance": _finite(trial.value), "origin": trial.origin}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
