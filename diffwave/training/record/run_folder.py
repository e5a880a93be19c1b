"""The folder of a run: its states, checkpoints, history, outputs, and the lock on it.

Every file is whole or not there. A disk that is full ends the run with one line, and the files stay as they were.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffwave.checkpoint.folder import WEIGHTS_NAME, Checkpoint, save_checkpoint
from diffwave.config import ConfigError
from diffwave.errors import TrainingError
from diffwave.files import remove_leftovers
from diffwave.training.outputs.output import PICTURE, Output, write_outputs
from diffwave.training.record.diagnosis import write_diagnosis
from diffwave.training.record.history import History, log_file
from diffwave.training.record.states import exclusive, prune_states, save_state, states

BEST_NAME, OUTPUTS_NAME, LOG_NAME = "best", "outputs", "train.log"


class RunFolder:
    """What process 0 of a run writes.

    Args:
        path: of the folder; it is made if missing.
        keep: how many states stay.
        tensorboard: write event files too.
    """

    def __init__(self, path: Path, keep: int, tensorboard: bool = True) -> None:
        self.path = path
        self.keep = keep
        self.tensorboard = tensorboard
        self._history: History | None = None
        self._found = states(path)  # when the state to go on from was chosen

    @contextlib.contextmanager
    def opened(self, iteration: int, again: bool = False) -> Iterator[None]:
        """Keep others out, and begin to write down what happens.

        Args:
            iteration: that the run goes on from.
            again: the outputs of that iteration will be made again.

        Raises:
            ConfigError: if another training runs in the folder, or it cannot be written.
        """
        with exclusive(self.path), contextlib.ExitStack() as stack:
            if states(self.path) != self._found:
                raise ConfigError(f"run_dir={self.path}: another training wrote there meanwhile; start this one again")
            with self._writing(iteration):
                stack.enter_context(log_file(self.path / LOG_NAME))
                for folder in (self.path, self.path / BEST_NAME):
                    remove_leftovers(folder)
                self._history = History(self.path, iteration, self.tensorboard, again)
            try:
                yield
            finally:
                self._history = None

    def record(self, row: dict[str, Any]) -> None:
        """Write one row of figures."""
        assert self._history is not None
        with self._writing(row["iteration"]):
            self._history.record(row)

    def save(self, state: dict[str, Any], checkpoint: Checkpoint) -> None:
        """Write the weights as a checkpoint that synthesizes, then the resumable state; old states go last.

        In this order: a run that is killed in between goes on from the state before, and writes both again.
        """
        with self._writing(state["progress"]["iteration"]):
            save_checkpoint(self.path, checkpoint)
            save_state(self.path, state["progress"]["iteration"], state)
            prune_states(self.path, state["progress"]["iteration"], self.keep)

    def save_best(self, iteration: int, checkpoint: Checkpoint) -> None:
        """Keep the weights of the best validation."""
        with self._writing(iteration):
            save_checkpoint(self.path / BEST_NAME, checkpoint)

    def has_best(self) -> bool:
        """Whether the weights of the best validation are there; process 0 knows."""
        return (self.path / BEST_NAME / WEIGHTS_NAME).is_file()

    def save_outputs(self, iteration: int, outputs: list[Output], sample_rate: int) -> None:
        """Write outputs with their picture, and let them be heard in TensorBoard."""
        assert self._history is not None
        folder = self.path / OUTPUTS_NAME / f"iteration-{iteration:08d}"
        with self._writing(iteration):
            write_outputs(folder, outputs, sample_rate)
            self._history.outputs(iteration, outputs, sample_rate, folder / PICTURE)

    def save_diagnosis(self, iteration: int, content: dict[str, Any]) -> Path:
        """Write what is known of a loss that is no number; returns where."""
        with self._writing(iteration):
            path = write_diagnosis(self.path, iteration, content)
        return path  # noqa: RET504  (mypy: a context may swallow what its block raises)

    def last_good(self) -> str:
        """Where to go on from, in words."""
        found = states(self.path)
        return f"the last good state is {found[-1]}" if found else f"{self.path} holds no state yet"

    @contextlib.contextmanager
    def _writing(self, iteration: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"iteration {iteration}: expected room and permission to write into {self.path}; "
                f"{error.strerror or error}; {self.last_good()}"
            ) from None
