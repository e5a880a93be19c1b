"""The work of ``diffwave search-schedule``: one search after the other, each stored when it is done."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from diffwave.errors import InputError, reason
from diffwave.search.found import Found, Scores, SearchSettings, record

if TYPE_CHECKING:
    from diffwave.checkpoint.folder import Checkpoint
    from diffwave.search.objective import ScheduleObjective
    from diffwave.search.order import Search
    from diffwave.search.schedules import ScheduleTrial


def search_all(search: Search, found: list[Found]) -> None:
    """Search for each number of calls; what is found is stored at once and added to ``found``.

    Args:
        search: what to do.
        found: is added to, so that the caller has it whatever happens.

    Raises:
        InputError: if no schedule gives finite outputs, or the folder cannot be written.
        KeyboardInterrupt: after what was found until then is stored.
    """
    from tqdm import tqdm

    objective, counts, settings = search.objective, search.counts, search.settings
    checkpoint, target, most = search.checkpoint, search.target, settings.evaluations
    with tqdm(total=most * len(counts), unit="schedule", disable=None, dynamic_ncols=True, file=sys.stderr) as progress:
        for number, count in enumerate(counts, 1):
            progress.set_description(f"{count} call" + "s" * (count > 1))
            outcome, finished = _search(objective, count, most, _previous(objective, count, found), progress.update)
            checkpoint = _store(checkpoint, outcome, target, settings)
            found.append(outcome)
            if not finished:
                raise KeyboardInterrupt
            found[-1] = outcome = _scored(objective, outcome)
            _record(target, settings, outcome)
            progress.update(number * most - progress.n)  # fewer trials than allowed


def _previous(objective: ScheduleObjective, count: int, found: list[Found]) -> ScheduleTrial | None:
    """The best schedule of one call fewer, if it is known: found just before, or stored in the checkpoint."""
    from diffwave.search.schedules import ScheduleTrial

    if found and found[-1].calls == count - 1:
        return found[-1].best
    stored = objective.stored(count - 1)
    return ScheduleTrial(stored, objective(stored), "current") if stored else None


def _search(
    objective: ScheduleObjective, count: int, most: int, previous: ScheduleTrial | None, progress: Callable[[], object]
) -> tuple[Found, bool]:
    """One search, and whether it was finished; Ctrl-C before the first trial is passed on."""
    from diffwave.search.schedules import search

    begun, finished = time.perf_counter(), True
    trials: list[ScheduleTrial] = []

    def report(trial: ScheduleTrial) -> None:
        trials.append(trial)
        progress()

    current, last = objective.in_use(count), len(objective.vocoder.schedule) - 1
    try:
        search(objective, count, last, most, current, previous.steps if previous else (), report)
    except KeyboardInterrupt:
        if not trials:
            raise
        finished = False
    outcome = Found(count, previous.value if previous else None, trials, time.perf_counter() - begun)
    if not math.isfinite(outcome.best.value):
        raise InputError(f"expected finite outputs; {len(trials)} schedules of {count} calls gave NaN or infinity")
    return outcome, finished


def _store(checkpoint: Checkpoint, outcome: Found, target: Path, settings: SearchSettings) -> Checkpoint:
    """Write the checkpoint with what was found, and return it."""
    import torch

    from diffwave.checkpoint.folder import save_checkpoint
    from diffwave.search.objective import with_schedule

    sampling = with_schedule(checkpoint.config.sampling, settings.field, outcome.best.steps)
    changed = dataclasses.replace(checkpoint, config=dataclasses.replace(checkpoint.config, sampling=sampling))
    half = all(weight.dtype == torch.float16 for weight in checkpoint.weights.values())
    try:
        save_checkpoint(target, changed, half)
    except OSError as error:
        raise InputError(f"{target}: expected a folder that can be written; {reason(error)}") from None
    _record(target, settings, outcome)
    return changed


def _record(target: Path, settings: SearchSettings, outcome: Found) -> None:
    try:
        record(target, settings, outcome)
    except OSError as error:
        raise InputError(f"{target}: the record of the search cannot be written; {reason(error)}") from None


def _scored(objective: ScheduleObjective, outcome: Found) -> Found:
    """With PESQ and band synchrony of the schedule that was in use and of the best one."""
    scores = _scores(objective, [outcome.before, outcome.best])
    return dataclasses.replace(outcome, scores_before=scores[0], scores_after=scores[1])


def _scores(objective: ScheduleObjective, trials: list[ScheduleTrial]) -> list[Scores]:
    """Mean scores of each trial, over the utterances that have one."""
    import torch

    from diffwave.evaluation.scored_apart import score
    from diffwave.evaluation.spectral import SAMPLE_RATE

    # All in one go, since starting the process that scores takes longer than scoring.
    schedules = list(dict.fromkeys(trial.steps for trial in trials if math.isfinite(trial.value)))
    heard = [
        (clip.path.stem, torch.from_numpy(clip.reference), torch.from_numpy(wav))
        for steps in schedules
        for clip, wav in zip(objective.clips, objective.speak(steps), strict=True)
    ]
    rows, count = score(heard, SAMPLE_RATE), len(objective.clips)
    means = {steps: _means(rows[i * count : (i + 1) * count]) for i, steps in enumerate(schedules)}
    return [means.get(trial.steps, Scores()) for trial in trials]


def _means(rows: list[dict[str, float]]) -> Scores:
    columns = ([row[name] for row in rows if name in row] for name in ("pesq_wb", "synchrony"))
    return Scores(*(math.fsum(values) / len(values) if values else None for values in columns))
