"""From noise to the domain of the diffusion: the sampler, the network and the noise put together.

Nothing in here waits for the device, so that a GPU can be given all steps at once, or record them (``graphs``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from diffwave.diffusion import DiffusionProcess, NoiseSchedule, Sampler
from diffwave.diffusion.sampler import Callback
from diffwave.dsp.noise import white_noise
from diffwave.kernels.dispatch import BackendChoice
from diffwave.network.diffwave import Condition
from diffwave.network.protocol import VocoderNetwork


class Guide(Protocol):
    """Something that knows of the clean signals from elsewhere (:mod:`diffwave.synthesis.guidance`)."""

    def start(self, noise: Tensor) -> Tensor | None:
        """An estimate of the clean signals ``[B, N]`` to begin with, made of white noise; None to begin with noise."""

    def correct(self, index: int, clean: Tensor) -> Tensor:
        """A better estimate ``[B, N]`` than the network's."""


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A network that walks back from noise.

    Args:
        network: predicts the noise, or the velocity.
        process: what its output means; the schedule's betas lie on the network's device.
        choice: the precision it runs in.
    """

    network: VocoderNetwork
    process: DiffusionProcess
    choice: BackendChoice

    @classmethod
    def on(
        cls, device: torch.device, network: VocoderNetwork, process: DiffusionProcess, choice: BackendChoice
    ) -> Denoiser:
        """With a copy of the schedule on the network's device: looking up a level there does not wait for it."""
        there = NoiseSchedule(process.schedule.betas.to(device))
        return cls(network, DiffusionProcess(there, process.parameterization), choice)

    def condition(self, mel: Tensor) -> Condition:
        """Upsample a mel ``[B, M, F]``, once for all steps."""
        with self.choice.arithmetic():
            return self.network.condition(mel)

    def condition_batch(self, mels: Sequence[Tensor]) -> Condition:
        """Upsample mels ``[M, F_i]`` of different lengths, each as if it were alone."""
        with self.choice.arithmetic():
            return Condition.joined([self.network.condition(mel.unsqueeze(0)) for mel in mels])

    def shifts(self, sampler: Sampler) -> Tensor:
        """What every layer adds at each of the sampler's steps, ``[S, L, C]``; the same for all mels."""
        with self.choice.arithmetic():
            return self.network.shifts(sampler.steps.to(self.process.schedule.betas.device))

    def __call__(
        self,
        condition: Condition,
        sampler: Sampler,
        seed: int | Tensor,
        callback: Callback | None = None,
        shifts: Tensor | None = None,
        guide: Guide | None = None,
        first: int = 0,
    ) -> Tensor:
        """Walk from noise to the end of a sampler.

        Args:
            condition: of the mels, ``P`` positions.
            sampler: the way.
            seed: of the noise, as :func:`~diffwave.dsp.noise.white_noise` takes it; the same for every example.
            callback: see :meth:`Sampler.sample`.
            shifts: of the sampler's steps, where they are known already.
            guide: keeps the clean estimates near the mels.
            first: position of the noise's first sample in the utterance.

        Returns:
            Shape ``[B, N]``, ``N = P * squeeze``, float32.
        """
        examples, _, positions = condition.mel.shape
        samples, device = positions * self.network.config.squeeze, condition.mel.device
        with self.choice.arithmetic():
            ready = self.network.prepare(condition, len(sampler))
        known = self.shifts(sampler) if shifts is None else shifts

        def draw(index: int) -> Tensor:
            return white_noise(seed, index, samples, first, device).expand(examples, -1)

        def predict_noise(index: int, noisy: Tensor, step: Tensor) -> Tensor:
            with self.choice.arithmetic():
                output = self.network(noisy, step, ready, known[index].expand(examples, -1, -1))
            return self.process.to_noise(output.float(), noisy, step)

        if guide is None:
            return sampler.sample(predict_noise, draw, callback)
        last = len(sampler)
        estimate = guide.start(draw(last))
        start = None if estimate is None else sampler.begin(estimate, draw(last + 1))
        return sampler.sample(predict_noise, draw, callback, guide.correct, start)
