"""What a run begins with: its newest state, another network's weights, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diffwave.checkpoint.folder import Checkpoint, checkpoint_folder, load_checkpoint
from diffwave.config import ModelConfig
from diffwave.config.document import to_dict
from diffwave.training.distributed import Processes
from diffwave.training.learner import Learner
from diffwave.training.record.progress import Progress
from diffwave.training.record.run_folder import RunFolder
from diffwave.training.record.states import find_state
from diffwave.training.warm_start import source_name, warm_weights

# A run that was moved is the same run; what it started from matters once.
_NO_CHANGE = ("run_dir", "train.start_from")


@dataclass(frozen=True, eq=False)
class Start:
    """Read before anything else, since reading the list of a large corpus takes a while.

    Args:
        folder: of the run.
        state: in it, to go on from; None if there is none yet.
        source: checkpoint that a new run begins with; None if with random weights.
        name: of that checkpoint, as the user gave it.
    """

    folder: RunFolder
    state: dict[str, Any] | None
    source: Checkpoint | None = None
    name: str = ""

    def enter(self, learner: Learner, known: dict[str, Any]) -> tuple[Progress, list[str]]:
        """Give the learner what it begins with.

        Args:
            learner: with random weights.
            known: what a state says of its run besides: ``config`` as a document, and the fingerprints ``data`` and
                ``validation`` of the utterances.

        Returns:
            How far the run has come, and what there is to tell, in lines.
        """
        if self.state is not None:
            learner.load_state(self.state)
            return self._gone_on(self.state, known)
        if self.source is None:
            return Progress(), []
        learner.begin_with(warm_weights(self.source, learner.network, learner.loss.config))
        name = source_name(self.name, self.source)
        line = (
            f"starts from {name}: its network; refiner and schedules of few calls are to be found anew (diffwave "
            "train-refiner, diffwave search-schedule)"
        )
        return Progress(started_from=name), [line]

    def _gone_on(self, state: dict[str, Any], known: dict[str, Any]) -> tuple[Progress, list[str]]:
        """Progress of a run that goes on, and what is no longer as it was."""
        progress = Progress.from_state(state["progress"])
        lines = [f"resumed {self.folder.path} at iteration {progress.iteration}"]
        lines += [f"changed since: {change}" for change in changed_settings(state["config"], known["config"])]
        if state["data"] and state["data"] != known["data"]:
            lines.append("changed since: the utterances that it learns from")
        if state.get("validation", known["validation"]) != known["validation"]:
            lines.append("changed since: the utterances that it is validated on, so the best begins anew")
            progress.validation, progress.best = {}, {}
        if state["config"]["train"]["loss"] != known["config"]["train"]["loss"] or not self.folder.has_best():
            progress.best = {}
        return progress, lines


def find_start(folder: RunFolder, model: ModelConfig, start_from: str, processes: Processes) -> Start:
    """The same in every process.

    Args:
        folder: of the run.
        model: that is trained.
        start_from: name or folder of a checkpoint, for a run without a state; empty for random weights.
        processes: of the run.

    Raises:
        ConfigError: if the state is of another model, or none can be read.
        CheckpointError: if there is no checkpoint to start from, or it is damaged.
    """
    state = find_state(folder.path, to_dict(model), processes)
    if state is not None or not start_from:
        return Start(folder, state)
    return Start(folder, None, load_checkpoint(checkpoint_folder(start_from)), start_from)


def changed_settings(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Settings of a run that are no longer as they were, one line each; a run that was moved is the same run.

    >>> changed_settings({"train": {"seed": 1, "loss": "l1"}}, {"train": {"seed": 2, "loss": "l1", "more": 3}})
    ['train.seed was 1, is 2']
    """
    before, now = dict(_flat(old)), dict(_flat(new))
    changed = [key for key in now if key in before and before[key] != now[key] and key not in _NO_CHANGE]
    return [f"{key} was {before[key]!r}, is {now[key]!r}" for key in changed]


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
