"""What learns: network, its moving average, the optimiser, and one step of it.

What iteration ``i`` does is a function of the weights before and of its crops: noise and diffusion step of a crop are
drawn from ``(seed, number of the crop)``, so they do not depend on processes, micro-batches or interruptions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from diffwave.config import ModelConfig, OptimizationConfig
from diffwave.kernels.dispatch import choose
from diffwave.kernels.layers import Backend
from diffwave.network.diffwave import DiffWave
from diffwave.training.crops import Crops
from diffwave.training.distributed import Processes
from diffwave.training.loss.diffusion_loss import Batch, DiffusionLoss, Objective

# Streams of random numbers, so that changing one does not shift another.
_NOISE_STREAM, _VALIDATION_STREAM = 3, 4


@dataclass(frozen=True, eq=False)
class IterationLosses:
    """What is known before an optimiser step, of this process's crops.

    Args:
        losses: of each crop, without weights and further terms, shape ``[B]``.
        steps: diffusion step of each crop, whole numbers in float32, shape ``[B]``.
        gradient_norm: of the whole batch, before clipping, shape ``[]``.
    """

    losses: Tensor
    steps: Tensor
    gradient_norm: Tensor


class Learner:
    """Network, average, optimiser and loss of a run.

    Args:
        model: what is learned.
        settings: how.
        processes: whose gradients are averaged.
    """

    def __init__(self, model: ModelConfig, settings: OptimizationConfig, processes: Processes) -> None:
        self.settings = settings
        self.processes = processes
        self.device = processes.device
        torch.manual_seed(settings.seed)
        self.network = DiffWave(model).to(self.device)
        self.network.backend = self._backend()
        self.average = AveragedModel(self.network, multi_avg_fn=moving_average(settings.ema_decay))
        # Rate 0: it rises from what it was, also in a run that goes on (see rate).
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.0, fused=True)
        self.loss = DiffusionLoss(model, settings.loss, settings.precision).to(self.device)
        run = torch.compile(self.network) if settings.compile else self.network
        levers = settings.noise_weighting, settings.stft_weight, settings.error_weighting
        objective = Objective(self.network, self.loss, run, *levers)
        self._objective = objective.to(self.device)
        self._distributed = processes.wrap(self._objective)

    def step(self, micro_batches: Sequence[Crops], iteration: int) -> IterationLosses:
        """Backward pass and gradient norm of an iteration; :meth:`update` then moves the weights.

        Args:
            micro_batches: this process's crops.
            iteration: from 0, for the learning rate.
        """
        rate = self.rate(iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        losses, steps = [], []
        for index, crops in enumerate(micro_batches):
            batch = self.draw(crops)
            # Gradients travel between processes once, with the last micro-batch.
            with self._gradients_at_home(index + 1 < len(micro_batches)):
                minimised, plain = self._distributed(*batch)
                torch.autograd.backward(minimised.mean() / len(micro_batches))
            losses.append(plain)
            steps.append(batch.step)
        gradients = [value.grad for value in self.network.parameters() if value.grad is not None]
        return IterationLosses(torch.cat(losses), torch.cat(steps), nn.utils.get_total_norm(gradients))

    def update(self, gradient_norm: Tensor) -> None:
        """Move the weights along the gradient of the last :meth:`step`, and their average after them.

        Args:
            gradient_norm: of that step; not before here is the gradient clipped, so that one that is no number can
                be looked at.
        """
        limit = self.settings.gradient_clip
        # A CPU knows the norm, and need not multiply every gradient by one; to ask a GPU would be to wait for it.
        if self.device.type != "cpu" or not bool(gradient_norm <= limit):
            nn.utils.clip_grads_with_norm_(self.network.parameters(), limit, gradient_norm)
        self.optimizer.step()
        self.average.update_parameters(self.network)

    def rate(self, iteration: int) -> float:
        """Learning rate: level, then a linear fall to zero; it never rises faster than the warm-up does.

        So a run that goes on after its fall, with more iterations, is warmed up again: at the full rate, Adam's moments
        of the small gradients before would throw the weights far off.
        """
        settings = self.settings
        left = settings.iterations - iteration
        falling = min(1.0, left / settings.decay_iterations) if settings.decay_iterations else 1.0
        before: float = self.optimizer.param_groups[0]["lr"]
        return min(settings.learning_rate * falling, before + settings.learning_rate / max(settings.warmup, 1))

    def draw(self, crops: Crops) -> Batch:
        """Noise and diffusion step of each crop, drawn from ``(seed, number of the crop)``."""
        wav = crops.wav.to(self.device, non_blocking=True)
        noise = torch.empty(wav.shape[0], wav.shape[1] - 2 * self.loss.context, device=self.device)
        step = torch.empty(wav.shape[0], device=self.device)
        for row, number in enumerate(crops.number.tolist()):
            generator = _generator(self.device, self.settings.seed, _NOISE_STREAM, number)
            noise[row].normal_(generator=generator)
            step[row] = torch.randint(len(self.loss.schedule), (), generator=generator, device=self.device)
        return Batch(wav, noise, step)

    @torch.no_grad()
    def validation_losses(self, wav: Tensor, number: int, steps: Tensor) -> Tensor:
        """Loss of the averaged weights on one utterance at several diffusion steps, shape of ``steps``.

        Args:
            wav: with context on both sides, shape ``[N + 2 * context]``.
            number: of the utterance, for its noise.
            steps: diffusion steps, shape ``[S]``.
        """
        network = self.average.module
        generator = _generator(self.device, 0, _VALIDATION_STREAM, number)
        size = (len(steps), len(wav) - 2 * self.loss.context)
        noise = torch.randn(size, generator=generator, device=self.device)
        batch = Batch(wav.to(self.device).expand(len(steps), -1), noise, steps.to(self.device))
        losses: Tensor = self.loss(network, network.condition, batch)
        return losses

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Take weights, of a checkpoint, instead of random ones."""
        for network in (self.network, self.average.module):
            network.load_state_dict(weights)

    def state(self) -> dict[str, Any]:
        """Everything that goes on changing."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what :meth:`state` gave."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _backend(self) -> Backend:
        """What runs the residual layers.

        Triton's kernels are taken in training only where they are named: their weight gradients read more memory than
        the forward pass saves, and they have not been timed yet.
        """
        settings, shape = self.settings, self.network.config
        plain = settings.compile or (settings.backend == "auto" and self.device.type == "cuda")
        name = "reference" if plain else settings.backend
        return choose(name, settings.precision, self.device, shape.residual_channels, shape.padding).backend

    def _gradients_at_home(self, wanted: bool) -> contextlib.AbstractContextManager[None]:
        no_sync: Callable[[], contextlib.AbstractContextManager[None]] | None
        no_sync = getattr(self._distributed, "no_sync", None)
        return no_sync() if wanted and no_sync else contextlib.nullcontext()


def moving_average(decay: float) -> Any:
    """Exponential moving average that starts short, so that early weights are not dragged along.

    After ``n`` updates the past weighs ``min(decay, (1 + n) / (10 + n))``.
    """

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
