"""What training minimises: DiffWave's simple loss on crops of speech."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffwave.config import ModelConfig
from diffwave.data import context_samples
from diffwave.diffusion import DiffusionProcess, NoiseSchedule
from diffwave.mel import MelSpectrogram
from diffwave.model import make_prior
from diffwave.network import DiffWave


class Batch(NamedTuple):
    """Everything the loss needs of a set of crops, on the device."""

    wav: Tensor  # with context, [B, N + 2 context]
    noise: Tensor  # [B, N]
    step: Tensor  # [B]


class DiffusionLoss(nn.Module):
    """DiffWave's simple loss (equation 7) on crops with context.

    The mel, the prior and the forward process are computed on the crop with its context, so that nothing near
    a cut differs from the whole utterance; network and loss see the crop alone.

    Args:
        config: the model.
        kind: ``l1`` or ``l2``.
        precision: ``float32`` or ``bfloat16`` for the network.
    """

    def __init__(self, config: ModelConfig, kind: str, precision: str) -> None:
        super().__init__()
        self.config = config
        self.kind = kind
        self.precision = precision
        self.front_end = MelSpectrogram(config.mel)
        self.schedule = NoiseSchedule.from_config(config.diffusion)
        self.process = DiffusionProcess(self.schedule, config.network.parameterization)
        self.context = context_samples(config.mel)

    def forward(self, network: DiffWave | nn.Module, condition: Any, batch: Batch) -> Tensor:
        """Loss of each example, shape ``[B]``.

        Args:
            network: the network, possibly compiled.
            condition: its ``condition`` method.
            batch: crops with context, noise and steps.
        """
        context, frames = self.context, self.context // self.config.mel.hop_length
        with torch.no_grad():
            mel = self.front_end(batch.wav)
            prior = make_prior(self.config.diffusion, self.front_end, mel)
            clean = prior.whiten(batch.wav)[:, context:-context]
            mel = mel[..., frames:-frames]
            noisy = self.schedule.add_noise(clean, batch.noise, batch.step)
            target = self.process.target(clean, batch.noise, batch.step)
        autocast = torch.autocast(batch.wav.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        with autocast:
            output = network(noisy, batch.step, condition(mel))
        error: Tensor = output.float() - target
        return (error.abs() if self.kind == "l1" else error.square()).mean(dim=1)


class Objective(nn.Module):
    """The loss as a function of a batch alone, so that DDP sees every use of a parameter inside one ``forward``.

    Args:
        network: whose parameters are learned.
        loss: of its output.
        run: the network as it is run: itself, or compiled.
    """

    def __init__(self, network: DiffWave, loss: DiffusionLoss, run: Callable[..., Tensor]) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        # In a list, so that a compiled network does not become a second child with the same parameters.
        self._run = [run]

    def forward(self, wav: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Loss of each example, shape ``[B]``; see :class:`Batch`."""
        losses: Tensor = self.loss(self._run[0], self.network.condition, Batch(wav, noise, step))
        return losses
