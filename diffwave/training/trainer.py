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

from diffwave.checkpoint.folder import Checkpoint
from diffwave.config import TrainingConfig
from diffwave.config.document import to_dict
from diffwave.corpus.segments import DataError
from diffwave.errors import TrainingError
from diffwave.training.crops import Crops
from diffwave.training.distributed import Processes
from diffwave.training.learner import IterationLosses, Learner
from diffwave.training.loading import Shares, in_order, make_loader, take
from diffwave.training.material import gather_material
from diffwave.training.outputs.output import summary
from diffwave.training.outputs.speaking import OutputMaker
from diffwave.training.record.diagnosis import crops_of, diagnose
from diffwave.training.record.history import progress_bar
from diffwave.training.record.progress import Speed, Window
from diffwave.training.record.run_folder import RunFolder
from diffwave.training.record.story import Story, origin_story, time_left
from diffwave.training.resume import find_start
from diffwave.training.validation import Validator

log = logging.getLogger(__name__)

_RECENT = 100


class Trainer:
    """A training run: its parts, its progress, and the loop.

    Args:
        config: the run; ``run_dir`` is made if missing, and a run found there goes on.
        processes: those of the run; whoever joined them leaves them.

    Raises:
        ConfigError: if data, settings, processes and the state that is there do not fit.
        CheckpointError: if there is no checkpoint to start from, or it is damaged.
    """

    def __init__(self, config: TrainingConfig, processes: Processes) -> None:
        self.model = model = config.model
        self.settings = settings = config.train
        self.processes = processes
        processes.share(settings.batch_size, settings.accumulate)
        processes.prepare_torch(settings.threads, settings.deterministic)
        self.folder = RunFolder(Path(config.run_dir).expanduser(), settings.keep_checkpoints, settings.tensorboard)
        start = find_start(self.folder, model, settings.start_from, processes)
        material = gather_material(config.data, model.mel, settings, processes)
        self.dataset, self.loader_processes = material.crops, config.data.workers
        self.learner = Learner(model, settings, processes)
        self.validator = Validator(material.validation, self.learner, processes)
        self.outputs = OutputMaker(material.validation[: settings.output_utterances if settings.outputs_every else 0])
        origin = origin_story(material.training, material.validation, config.data.root)
        self.story = Story(origin, settings, material.crops.crop / model.mel.sample_rate, processes)
        self.speed = Speed(processes.device)
        # What a state says of its run, beside how far it is.
        fingerprints = {"data": material.fingerprint, "validation": material.validation_fingerprint}
        self.known: dict[str, Any] = {"config": to_dict(config), **fingerprints}
        self.progress, self._news = start.enter(self.learner, self.known)  # the news are told when the log is open
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._asked = self._stopping = False
        self._said_how_long = False

    def run(self) -> None:
        """Train up to ``iterations``, with checkpoints, validation and a history.

        Raises:
            ConfigError: if another process trains in the run directory.
            TrainingError: if the loss stops being a number, an utterance cannot be read any more, or nothing can be
                written; the checkpoints stay as they were.
            KeyboardInterrupt: after :meth:`stop`, with the state saved.
        """
        total = self.settings.iterations
        if self.iteration >= total and not self._outputs_are_missing():
            log.info("%s is at iteration %d: a larger train.iterations goes on", self.folder.path, self.iteration)
            for line in self._news[1:]:
                log.warning("%s; another run_dir begins anew", line)
            return
        first, again = self.processes.first, self._outputs_are_missing()
        written = self.folder.opened(self.iteration, again) if first else contextlib.nullcontext()
        with written, progress_bar(self.iteration, total, first) as bar:
            for line in [*self.story.introduction(self.learner.network), *self._news]:
                log.info("%s", line)
            if again:  # the run was killed while it made them
                self._make_outputs()
            self.progress.start_clock()
            try:
                self._learn(bar)
            except DataError as error:  # nothing is skipped, so that nothing differs
                raise TrainingError(f"iteration {self.iteration}: {error}; {self.folder.last_good()}") from None

    def _learn(self, bar: Any) -> None:
        """The loop."""
        with in_order(self._loader()) as batches:
            self.speed.begin()
            while self.iteration < self.settings.iterations:
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
        found = take(batches, self.settings.accumulate)
        self.speed.waited(time.perf_counter() - begun)
        return found

    def _iterate(self, micro_batches: list[Crops]) -> None:
        """One iteration: the gradient, a look at it, an update."""
        try:
            step = self.learner.step(micro_batches, self.iteration)
        except torch.OutOfMemoryError:
            crops, parts = len(micro_batches[0].number), self.settings.accumulate
            raise TrainingError(
                f"iteration {self.iteration}: expected memory for {crops} crops at once; the GPU has too little - "
                f"train.accumulate={2 * parts} takes half of them at a time; {self.folder.last_good()}"
            ) from None
        # One small tensor tells every process what all of them found, and whether one of them was asked to stop.
        sums, counts = self.learner.loss.by_noise(step.losses, step.steps)
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
        self.progress.crops += self.settings.batch_size
        self.progress.window.add(losses, numbers, norm)
        self.speed.add(self.settings.batch_size)

    def _after_iteration(self) -> None:
        """Whatever is due: a line of history, a validation, outputs, a checkpoint."""
        settings = self.settings
        if self._due(settings.log_every):
            rate = self.learner.optimizer.param_groups[0]["lr"]
            speed = self.speed.figures(self.dataset.crop)
            self._record({**self.progress.window.figures(), "learning_rate": rate, **speed})
            if self.processes.first and not self._said_how_long:  # once, since logs have no progress bar
                log.info("%s", time_left(settings, self.iteration, speed["crops_per_second"]))
                self._said_how_long = True
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
        return self.iteration % every == 0 or self.iteration == self.settings.iterations

    def _validate(self) -> None:
        """Validate, and keep the weights if they are the best so far."""
        progress = self.progress
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
        every = self.settings.outputs_every
        if not every or not self.iteration or not self._due(every):
            return False
        return self.progress.outputs.get("iteration") != self.iteration

    def _make_outputs(self) -> None:
        """Let the averaged weights speak, while the other processes wait."""
        self.progress.outputs = {"iteration": self.iteration}
        if self.processes.first:
            try:
                outputs = self.outputs.make(self.checkpoint(), self.processes.device)
                self.folder.save_outputs(self.iteration, outputs, self.model.mel.sample_rate)
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
        self.progress.elapsed()
        weights = self.learner.average.module.state_dict()
        return Checkpoint(self.model, weights, {**self.story.tell(self.progress), "best": best})

    def save(self) -> None:
        """Write the resumable state and the checkpoint that synthesizes."""
        if self.processes.first:
            checkpoint = self.checkpoint()
            self.folder.save({**self.known, "progress": self.progress.as_state(), **self.learner.state()}, checkpoint)
        # Whoever left early, at the end or when asked to stop, would have the others ended by torchrun.
        self.processes.wait()

    def _loader(self) -> DataLoader[Crops]:
        """Micro-batches of this process for the remaining iterations, in order."""
        first, batch = self.progress.crops, self.settings.batch_size
        left = range(first, first + (self.settings.iterations - self.iteration) * batch)
        shares = Shares(left, batch, self.processes.rank, self.processes.count, self.settings.accumulate)
        return make_loader(self.dataset, shares, self.loader_processes, self.processes.device)

    def _diagnose(self, micro_batches: list[Crops], step: IterationLosses, loss: float, norm: float) -> str:
        """Write down what is known of a loss that is no number; returns the message."""
        crops = self.processes.gather(crops_of(self.dataset, micro_batches, step))
        found = {"iteration": self.iteration, "loss": str(loss), "gradient_norm": str(norm)}
        content = {**found, **diagnose(self.learner, [row for part in crops for row in part], list(self._recent))}
        message = f"iteration {self.iteration}: loss {loss}, gradient norm {norm}"
        if self.processes.first:
            message += f"; crops and gradients are in {self.folder.save_diagnosis(self.iteration, content)}"
        return f"{message}; {self.folder.last_good()}"

    def _record(self, figures: dict[str, Any]) -> None:
        """One line for machines and people."""
        if self.processes.first:
            self.folder.record({"iteration": self.iteration, "seconds": round(self.progress.elapsed(), 1), **figures})
