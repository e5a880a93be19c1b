"""Training: one plain loop, one network, one loss, one optimiser.

What a run does at iteration ``i`` is a function of its configuration, its state before, and ``i``: crops,
noise and diffusion steps are drawn from ``(seed, i)``. A checkpoint therefore holds no random state, and a
run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from diffwave.checkpoint import Checkpoint, save_checkpoint
from diffwave.config import ConfigError, TrainingConfig
from diffwave.data import CropDataset, Utterance, find_utterances, read_segment, split
from diffwave.devices import pick_device
from diffwave.document import to_dict
from diffwave.files import write_text
from diffwave.loss import Batch, DiffusionLoss
from diffwave.network import DiffWave
from diffwave.training_state import exclusive, newest_state, prune_states, save_state

log = logging.getLogger(__name__)

_VALIDATION_SECONDS = 2.0
# Streams of random numbers, so that changing one does not shift another.
_NOISE_STREAM, _VALIDATION_STREAM = 3, 4


class TrainingError(RuntimeError):
    """The run cannot go on; the message says why and where the last good checkpoint is."""


class Trainer:
    """A training run: its parts, its state, and the loop.

    Args:
        config: the run; ``run_dir`` is made if missing, and a run found there goes on.

    Raises:
        ConfigError: if data and settings do not fit.
    """

    def __init__(self, config: TrainingConfig) -> None:
        settings = config.train
        self.config = config
        self.run_dir = Path(config.run_dir)
        self.device = pick_device(settings.device)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        utterances = find_utterances(config.data, config.model.mel.sample_rate)
        training, validation = split(utterances, config.data.validation_speakers)
        self.training = training
        self.dataset = CropDataset(training, config.model.mel, config.data.crop_frames, settings.seed)
        if settings.batch_size > len(self.dataset.visits):
            raise ConfigError(
                f"train.batch_size={settings.batch_size} is larger than the data: {len(self.dataset.visits)} crops of "
                f"{config.data.crop_frames} frames"
            )
        self.validation = validation[: settings.validation_utterances]
        log.info(
            "data: %d utterances (%.2f h) for training, %d for validation",
            len(training),
            _hours(training),
            len(self.validation),
        )
        torch.manual_seed(settings.seed)
        self.network = DiffWave(config.model).to(self.device)
        self.average = AveragedModel(self.network, multi_avg_fn=_ema(settings.ema_decay))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)
        self.loss = DiffusionLoss(config.model, settings.loss, settings.precision).to(self.device)
        self.iteration = 0
        self.seconds = 0.0  # of training, over all the times that the run was started
        self._clock = time.perf_counter()
        self._losses: list[tuple[float, float]] = []
        self._stopping = False
        self._forward = torch.compile(self.network) if settings.compile else self.network
        self._resume()

    def run(self) -> None:
        """Train up to ``iterations``, with checkpoints, validation and a history.

        Raises:
            ConfigError: if another process trains in the run directory.
            TrainingError: if the loss stops being a number; the checkpoints stay as they were.
            KeyboardInterrupt: after :meth:`stop`, with the state saved.
        """
        if self.iteration >= self.config.train.iterations:
            log.info("%s is at iteration %d already; a larger train.iterations goes on", self.run_dir, self.iteration)
            return
        with exclusive(self.run_dir), _progress(self.iteration, self.config.train.iterations) as progress:
            self._clock = time.perf_counter()
            for crops in self._batches():
                self._losses.append(self._step(crops))
                self.iteration += 1
                progress.update()
                progress.set_postfix_str(f"loss {self._losses[-1][0]:.4f}", refresh=False)
                self._after_iteration()
                if self._stopping:
                    self.save()
                    log.info("stopped at iteration %d; the same command goes on from there", self.iteration)
                    raise KeyboardInterrupt

    def stop(self) -> None:
        """Ask the run to save its state and end after the current iteration; a state from its middle would not do."""
        self._stopping = True

    def _after_iteration(self) -> None:
        """Whatever is due: a line of history, a validation, a checkpoint."""
        settings = self.config.train
        last = self.iteration == settings.iterations
        if self.iteration % settings.log_every == 0 or last:
            values, norms = zip(*self._losses, strict=True)
            self._losses.clear()
            self._record(
                {
                    "loss": sum(values) / len(values),
                    "gradient_norm": sum(norms) / len(norms),
                    "learning_rate": self.optimizer.param_groups[0]["lr"],
                }
            )
        if self.iteration % settings.validate_every == 0 or last:
            self._record({"validation_loss": self.validate()})
        if self.iteration % settings.checkpoint_every == 0 or last:
            self.save()

    def validate(self) -> float:
        """Loss of the averaged weights on fixed crops, fixed noise and evenly spread steps."""
        network = self.average.module
        total, count = 0.0, 0
        with torch.no_grad():
            for number, utterance in enumerate(self.validation):
                batch = self._validation_batch(number, utterance)
                losses = self.loss(network, network.condition, batch)
                total, count = total + float(losses.sum()), count + len(losses)
        return total / max(count, 1)

    def save(self) -> None:
        """Write the resumable state, then the averaged weights as a checkpoint that synthesizes."""
        settings = self.config.train
        state = {
            "iteration": self.iteration,
            "seconds": self._elapsed(),
            "config": to_dict(self.config),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        save_state(self.run_dir, self.iteration, state)
        prune_states(self.run_dir, settings.keep_checkpoints)
        story = {
            "iterations": self.iteration,
            "batch_size": settings.batch_size,
            "crop_seconds": self.config.data.crop_frames
            * self.config.model.mel.hop_length
            / self.config.model.mel.sample_rate,
            "seconds": round(self.seconds),
            "device": self.device.type,
            "utterances": len(self.training),
            "data_hours": round(_hours(self.training), 2),
        }
        averaged = self.average.module.state_dict()
        save_checkpoint(self.run_dir, Checkpoint(self.config.model, averaged, story))

    def _elapsed(self) -> float:
        now = time.perf_counter()
        self.seconds, self._clock = self.seconds + now - self._clock, now
        return self.seconds

    def _resume(self) -> None:
        """Take up the newest readable state of the run directory, if there is one."""
        state = newest_state(self.run_dir, to_dict(self.config.model))
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.iteration = int(state["iteration"])
        self.seconds = float(state["seconds"])
        self._forget_after(self.iteration)
        log.info("resumed %s at iteration %d", self.run_dir, self.iteration)

    def _forget_after(self, iteration: int) -> None:
        """Drop the history of iterations that a crash has lost; they come again."""
        path = self.run_dir / "history.jsonl"
        if path.is_file():
            rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
            write_text(path, "".join(row for row in rows if _iteration(row) <= iteration))

    def _batches(self) -> Iterator[Tensor]:
        """Crops of the remaining iterations, in order."""
        size = self.config.train.batch_size
        numbers = range(self.iteration * size, self.config.train.iterations * size)
        loader = DataLoader(
            self.dataset,
            batch_size=size,
            sampler=numbers,
            num_workers=self.config.data.workers,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context="spawn" if self.config.data.workers else None,
        )
        yield from loader

    def _step(self, crops: Tensor) -> tuple[float, float]:
        """One optimiser step; returns loss and gradient norm."""
        settings = self.config.train
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        batch = self._draw(crops)
        losses = self.loss(self._forward, self.network.condition, batch)
        loss = losses.mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), settings.gradient_clip)
        value = float(loss.detach())
        if not math.isfinite(value) or not math.isfinite(float(norm)):
            raise TrainingError(
                f"iteration {self.iteration}: loss {value}, gradient norm {float(norm)}; "
                f"the last good checkpoint is in {self.run_dir}"
            )
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return value, float(norm)

    def _draw(self, crops: Tensor) -> Batch:
        """Noise and diffusion steps of this iteration, drawn from ``(seed, iteration)``."""
        generator = _generator(self.device, self.config.train.seed, _NOISE_STREAM, self.iteration)
        wav = crops.to(self.device, non_blocking=True)
        size = (wav.shape[0], wav.shape[1] - 2 * self.loss.context)
        noise = torch.randn(size, generator=generator, device=self.device)
        steps = len(self.loss.schedule)
        step = torch.randint(steps, wav.shape[:1], generator=generator, device=self.device)
        return Batch(wav, noise, step.float())

    def _validation_batch(self, number: int, utterance: Utterance) -> Batch:
        """The middle of an utterance at evenly spread diffusion steps."""
        mel = self.config.model.mel
        hop, context, steps = mel.hop_length, self.loss.context, len(self.loss.schedule)
        length = max(min(int(_VALIDATION_SECONDS * mel.sample_rate), utterance.samples) // hop, 1) * hop
        start = (utterance.samples - length) // 2 - context
        wav = read_segment(utterance, start, length + 2 * context).to(self.device)
        generator = _generator(self.device, 0, _VALIDATION_STREAM, number)
        step = torch.linspace(0, steps - 1, 8, device=self.device).round()
        noise = torch.randn((len(step), length), generator=generator, device=self.device)
        return Batch(wav.expand(len(step), -1), noise, step)

    def _rate(self) -> float:
        settings = self.config.train
        rising = min(1.0, (self.iteration + 1) / max(settings.warmup, 1))
        left = settings.iterations - self.iteration
        falling = min(1.0, left / settings.decay_iterations) if settings.decay_iterations else 1.0
        return settings.learning_rate * rising * falling

    def _record(self, figures: dict[str, float]) -> None:
        """One line for machines in ``history.jsonl``, one for people in the log."""
        row = {"iteration": self.iteration, "seconds": round(self._elapsed(), 1), **figures}
        with (self.run_dir / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        log.info(" ".join(f"{key} {value:.6g}" for key, value in row.items()))


def _iteration(row: str) -> float:
    """Iteration of a line of the history; a line that the crash cut short counts as lost."""
    try:
        return float(json.loads(row)["iteration"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _hours(utterances: list[Utterance]) -> float:
    return sum(u.samples / u.sample_rate for u in utterances) / 3600


def _ema(decay: float) -> Any:
    """Exponential moving average that starts short, so that early weights are not dragged along."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        number = int(count)
        weight = 1 - min(decay, (1 + number) / (10 + number))
        torch._foreach_lerp_(averaged, current, weight)

    return update


def _generator(device: torch.device, seed: int, stream: int, number: int) -> torch.Generator:
    """A generator that depends on nothing but its arguments."""
    # Odd multipliers keep (seed, stream, number) apart in 63 bits; torch mixes the seed further.
    mixed = (seed * 0x9E3779B97F4A7C15 + stream * 0xC2B2AE3D27D4EB4F + number) % 2**63
    return torch.Generator(device).manual_seed(mixed)


def _progress(start: int, total: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, initial=start, unit="it", disable=not sys.stderr.isatty(), dynamic_ncols=True)
