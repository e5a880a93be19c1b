"""Training: one plain loop, one network, one loss, one optimiser.

What a run does at iteration ``i`` is a function of its configuration, its state before, and ``i``: crops,
noise and diffusion steps are functions of the seed and of numbers that count up. A state therefore holds no random
state, and a run that was stopped goes on as if it had not been, also on another number of processes.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from diffwave.checkpoint.folder import Checkpoint, checkpoint_folder, load_checkpoint
from diffwave.config import TrainingConfig
from diffwave.config.document import to_dict
from diffwave.errors import TrainingError
from diffwave.training.crops import Crops, DataError, Shares
from diffwave.training.distributed import Processes
from diffwave.training.learner import IterationLosses, Learner
from diffwave.training.loading import in_order, make_loader, take
from diffwave.training.loss.noise_levels import bin_table, sum_by_bin
from diffwave.training.material import gather_material
from diffwave.training.outputs.output import summary
from diffwave.training.outputs.speaking import OutputMaker
from diffwave.training.record.diagnosis import crops_of, diagnose
from diffwave.training.record.history import progress_bar
from diffwave.training.record.progress import Progress, changed_settings
from diffwave.training.record.run_folder import RunFolder
from diffwave.training.record.states import find_state
from diffwave.training.record.story import introduction, training_story
from diffwave.training.record.window import Speed, Window
from diffwave.training.validation import Validator
from diffwave.training.warm_start import source_name, warm_weights

log = logging.getLogger(__name__)

_RECENT = 100


class Trainer:
    """A training run: its parts, its progress, and the loop.

    Args:
        config: the run; ``run_dir`` is made if missing, and a run found there goes on.
        processes: those of the run; found by what ``torchrun`` says if not given.

    Raises:
        ConfigError: if data, settings, processes and the state that is there do not fit.
        CheckpointError: if there is no checkpoint to start from, or it is damaged.
    """

    def __init__(self, config: TrainingConfig, processes: Processes | None = None) -> None:
        settings = config.train
        self.config = config
        self.processes = processes or Processes.join(settings.device)
        self.processes.share(settings.batch_size, settings.accumulate)
        self.processes.prepare_torch(settings.threads, settings.deterministic)
        self.folder = RunFolder(Path(config.run_dir).expanduser(), settings.keep_checkpoints)
        state = find_state(self.folder.path, to_dict(config.model), self.processes)
        begin = settings.start_from if state is None else ""
        source = load_checkpoint(checkpoint_folder(begin)) if begin else None
        self.material = gather_material(config, self.processes)
        self.dataset, validation = self.material.dataset, self.material.validation
        self.learner = Learner(config, self.processes)
        self.validator = Validator(validation, config.model.mel, self.learner, self.processes)
        self.outputs = OutputMaker(validation[: settings.output_utterances if settings.outputs_every else 0])
        self.bins = bin_table(self.learner.loss.schedule).to(self.processes.device)
        self.progress = Progress()
        self.speed = Speed(self.processes.device)
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._clock = time.perf_counter()
        self._asked = self._stopping = False
        self._said_how_long = False
        self._introduction: list[str] = []  # told when the log is open
        if state is not None:
            self._resume(state)
        elif source is not None:
            self._start_from(begin, source)

    def run(self) -> None:
        """Train up to ``iterations``, with checkpoints, validation and a history.

        Raises:
            ConfigError: if another process trains in the run directory.
            TrainingError: if the loss stops being a number, an utterance cannot be read any more, or nothing can be
                written; the checkpoints stay as they were.
            KeyboardInterrupt: after :meth:`stop`, with the state saved.
        """
        total = self.config.train.iterations
        if self.iteration >= total and not self._outputs_are_missing():
            log.info("%s is at iteration %d: a larger train.iterations goes on", self.folder.path, self.iteration)
            for line in self._introduction[1:]:
                log.warning("%s; another run_dir begins anew", line)
            return
        with self._written(), progress_bar(self.iteration, total, self.processes.first) as bar:
            self._introduce()
            if self._outputs_are_missing():  # the run was killed while it made them
                self._make_outputs()
            self._clock = time.perf_counter()
            with in_order(self._loader()) as batches:
                self.speed.begin()
                while self.iteration < total:
                    self._iterate(self._next(batches))
                    bar.set_postfix_str(f"loss {self._recent[-1]:.4f}", refresh=False)
                    bar.update()
                    self._after_iteration()
                    if self._stopping:
                        self.save()
                        log.info("stopped at iteration %d; the same command goes on from there", self.iteration)
                        raise KeyboardInterrupt

    def stop(self) -> None:
        """Ask the run to save its state and end after the current iteration; a state from its middle would not do."""
        self._asked = True

    @property
    def iteration(self) -> int:
        """Optimiser steps done."""
        return self.progress.iteration

    def _next(self, batches: Iterator[Crops]) -> list[Crops]:
        """The micro-batches of an iteration."""
        begun = time.perf_counter()
        with self._data_is_there():
            found = take(batches, self.config.train.accumulate)
        self.speed.waited(time.perf_counter() - begun)
        return found

    def _iterate(self, micro_batches: list[Crops]) -> None:
        """One iteration: the gradient, a look at it, an update."""
        try:
            step = self.learner.step(micro_batches, self.iteration)
        except torch.OutOfMemoryError:
            crops, parts = len(micro_batches[0].number), self.config.train.accumulate
            raise TrainingError(
                f"iteration {self.iteration}: expected memory for {crops} crops at once; the GPU has too little - "
                f"train.accumulate={2 * parts} takes half of them at a time; {self.folder.last_good()}"
            ) from None
        # One small tensor tells every process what all of them found, and whether one of them was asked to stop.
        sums, counts = sum_by_bin(step.losses, self.bins[step.steps.long()])
        told = self.processes.sum(torch.cat([sums, counts, sums.new_tensor([float(self._asked)])])).tolist()
        bins = len(sums)
        losses, numbers, asked = told[:bins], told[bins : 2 * bins], told[-1]
        loss, norm = sum(losses) / sum(numbers), float(step.gradient_norm)
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise TrainingError(self._diagnose(micro_batches, step, loss, norm))
        self.learner.update(step.gradient_norm)
        self._stopping = asked > 0
        self._recent.append(loss)
        self.progress.iteration += 1
        self.progress.crops += self.config.train.batch_size
        self.progress.window.add(losses, numbers, norm)
        self.speed.add(self.config.train.batch_size)

    def _after_iteration(self) -> None:
        """Whatever is due: a line of history, a validation, outputs, a checkpoint."""
        settings = self.config.train
        if self._due(settings.log_every):
            rate = self.learner.optimizer.param_groups[0]["lr"]
            speed = self.speed.figures(self.dataset.crop)
            self._record({**self.progress.window.figures(), "learning_rate": rate, **speed})
            self._say_how_long(speed["crops_per_second"])
            self.progress.window = Window()
            self.speed.begin()
        begun = time.perf_counter()
        if self._due(settings.validate_every):
            self._validate()
        if self._due(settings.checkpoint_every) or self._outputs_are_missing():
            self.save()  # before the outputs: they take a while, and a scheduler may not wait
        if self._outputs_are_missing() and not self._stopping:
            self._make_outputs()
        self.speed.paused(time.perf_counter() - begun)

    def _due(self, every: int) -> bool:
        return self.iteration % every == 0 or self.iteration == self.config.train.iterations

    def _validate(self) -> None:
        """Validate, and keep the weights if they are the best so far."""
        progress = self.progress
        with self._data_is_there():
            figures = self.validator.figures()
        if not math.isfinite(figures["validation_loss"]):
            loss = figures["validation_loss"]
            raise TrainingError(f"iteration {self.iteration}: validation loss {loss}; {self.folder.last_good()}")
        self._record(figures)
        progress.validation = {**figures, "validation_iteration": self.iteration}
        if not progress.best or figures["validation_loss"] < progress.best["validation_loss"]:
            progress.best = {"iteration": self.iteration, **figures}
            if self.processes.first:
                self.folder.save_best(self.iteration, self.checkpoint(best=True))

    def _outputs_are_missing(self) -> bool:
        """Whether this iteration is one with outputs, and there are none yet."""
        every = self.config.train.outputs_every
        if not every or not self.iteration or not self._due(every):
            return False
        return self.progress.outputs.get("iteration") != self.iteration

    def _make_outputs(self) -> None:
        """Let the averaged weights speak, while the other processes wait."""
        self.progress.outputs = {"iteration": self.iteration}
        if self.processes.first:
            try:
                outputs = self.outputs.make(self.checkpoint(), self.processes.device)
                self.folder.save_outputs(self.iteration, outputs, self.config.model.mel.sample_rate)
                self.progress.outputs |= {"utterances": len(outputs), **summary(outputs)}
            except TrainingError:
                raise
            except Exception as error:  # watching a run must not end it, whatever a library thinks of
                log.warning("no outputs of iteration %d: %s", self.iteration, repr(error).splitlines()[0])
            self._record({"outputs": self.progress.outputs})
            if self.progress.best.get("iteration") == self.iteration:
                self.folder.save_best(self.iteration, self.checkpoint(best=True))  # which now have figures
        self.save()

    def checkpoint(self, best: bool = False) -> Checkpoint:
        """The averaged weights with the story of their training; ``best`` says that no validation was better."""
        self._elapsed()
        story = {**self.material.origin, **training_story(self.config, self.progress, self.processes), "best": best}
        return Checkpoint(self.config.model, self.learner.average.module.state_dict(), story)

    def save(self) -> None:
        """Write the resumable state and the checkpoint that synthesizes."""
        if self.processes.first:
            checkpoint = self.checkpoint()
            known = {
                "config": to_dict(self.config),
                "data": self.material.fingerprint,
                "validation": self.material.validation_fingerprint,
            }
            self.folder.save({**known, "progress": self.progress.as_state(), **self.learner.state()}, checkpoint)
        # Whoever left early, at the end or when asked to stop, would have the others ended by torchrun.
        self.processes.wait()

    def _resume(self, state: dict[str, Any]) -> None:
        """Go on from a state, and say what is no longer as it was."""
        self.learner.load_state(state)
        self.progress = Progress.from_state(state["progress"])
        self._introduction.append(f"resumed {self.folder.path} at iteration {self.iteration}")
        changes = changed_settings(state["config"], to_dict(self.config))
        self._introduction += [f"changed since: {change}" for change in changes]
        if state["data"] and state["data"] != self.material.fingerprint:
            self._introduction.append("changed since: the utterances that it learns from")
        if state.get("validation", self.material.validation_fingerprint) != self.material.validation_fingerprint:
            self._introduction.append("changed since: the utterances that it is validated on, so the best begins anew")
            self.progress.validation, self.progress.best = {}, {}
        if state["config"]["train"]["loss"] != self.config.train.loss or not self.folder.has_best():
            self.progress.best = {}

    def _start_from(self, name: str, source: Checkpoint) -> None:
        """Begin with what a checkpoint knows."""
        self.learner.begin_with(warm_weights(source, self.learner.network, self.config.model))
        self.progress.started_from = source_name(name, source)
        self._introduction.append(
            f"starts from {self.progress.started_from}: its network; refiner and schedules of few calls are to be "
            "found anew (diffwave train-refiner, diffwave search-schedule)"
        )

    def _introduce(self) -> None:
        """What begins, in some lines."""
        lines = introduction(self.material.origin, self.learner.network, self.config, self.processes)
        for line in [*lines, *self._introduction]:
            log.info("%s", line)

    def _say_how_long(self, crops_per_second: float) -> None:
        """Once, since logs have no progress bar."""
        if not self._said_how_long and self.processes.first:
            left = self.config.train.iterations - self.iteration
            hours = left * self.config.train.batch_size / crops_per_second / 3600
            log.info("%s iterations left: about %.3g hours at this speed", f"{left:,}", hours)
            self._said_how_long = True

    def _loader(self) -> DataLoader[Crops]:
        """Micro-batches of this process for the remaining iterations, in order."""
        settings = self.config.train
        first, batch = self.progress.crops, settings.batch_size
        left = range(first, first + (settings.iterations - self.iteration) * batch)
        shares = Shares(left, batch, self.processes.rank, self.processes.count, settings.accumulate)
        return make_loader(self.dataset, shares, self.config.data.workers, self.processes.device)

    def _diagnose(self, micro_batches: list[Crops], step: IterationLosses, loss: float, norm: float) -> str:
        """Write down what is known of a loss that is no number; returns the message."""
        crops = self.processes.gather(crops_of(self.dataset, micro_batches, step))
        content = diagnose(self.learner, [row for part in crops for row in part], list(self._recent))
        content = {"iteration": self.iteration, "loss": str(loss), "gradient_norm": str(norm), **content}
        message = f"iteration {self.iteration}: loss {loss}, gradient norm {norm}"
        if self.processes.first:
            message += f"; crops and gradients are in {self.folder.save_diagnosis(self.iteration, content)}"
        return f"{message}; {self.folder.last_good()}"

    @contextlib.contextmanager
    def _data_is_there(self) -> Iterator[None]:
        """An utterance that cannot be read any more ends the run; nothing is skipped, so that nothing differs."""
        try:
            yield
        except DataError as error:
            raise TrainingError(f"iteration {self.iteration}: {error}; {self.folder.last_good()}") from None

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """Let process 0 write down what happens."""
        if self.processes.first:
            with self.folder.opened(self.iteration, self.config.train.tensorboard, self._outputs_are_missing()):
                yield
        else:
            yield

    def _record(self, figures: dict[str, Any]) -> None:
        """One line for machines and people."""
        if self.processes.first:
            self.folder.record({"iteration": self.iteration, "seconds": round(self._elapsed(), 1), **figures})

    def _elapsed(self) -> float:
        now = time.perf_counter()
        self.progress.seconds, self._clock = self.progress.seconds + now - self._clock, now
        return self.progress.seconds
