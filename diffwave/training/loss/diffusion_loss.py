"""What training minimises: DiffWave's simple loss on crops of speech, weighted and with further terms if asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diffwave.config import ModelConfig
from diffwave.diffusion import DiffusionProcess, NoiseSchedule, Prior
from diffwave.mel.prior import make_prior
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.diffwave import DiffWave
from diffwave.training.crops import context_samples
from diffwave.training.loss.noise_levels import bin_table, step_weights, sum_by_bin
from diffwave.training.loss.spectral_loss import loudness_weights, multi_resolution_loss, weighted_square


class Batch(NamedTuple):
    """Everything the loss needs of a set of crops, on the device."""

    wav: Tensor  # with context, [B, N + 2 context]
    noise: Tensor  # [B, N]
    step: Tensor  # [B]


class NetworkAnswer(NamedTuple):
    """What the network said to a batch, and what it should have said."""

    output: Tensor  # of the network, [B, N]
    target: Tensor  # [B, N]
    noisy: Tensor  # [B, N]
    whitened: Tensor  # clean crops with context in the domain of the diffusion, [B, N + 2 context]
    prior: Prior  # of the crops with context
    mel: Tensor  # with context, [B, M, F]


class DiffusionLoss(nn.Module):
    """DiffWave's simple loss (equation 7) on crops with context.

    The mel, the prior and the forward process are computed on the crop with its context, so that nothing near
    a cut differs from the whole utterance; network and loss see the crop alone.

    Args:
        config: the model.
        kind: ``l1`` or ``l2``.
        precision: ``float32`` or ``bfloat16`` for the network.
    """

    bins: Tensor

    def __init__(self, config: ModelConfig, kind: str, precision: str) -> None:
        super().__init__()
        self.config = config
        self.kind = kind
        self.precision = precision
        self.front_end = MelSpectrogram(config.mel)
        self.schedule = NoiseSchedule.from_config(config.diffusion)
        self.process = DiffusionProcess(self.schedule, config.network.parameterization)
        self.context = context_samples(config.mel)
        self.register_buffer("bins", bin_table(self.schedule), persistent=False)  # [T]

    def forward(self, network: Callable[..., Tensor], condition: Any, batch: Batch) -> Tensor:
        """Loss of each example, shape ``[B]``.

        Args:
            network: the network, possibly compiled.
            condition: its ``condition`` method.
            batch: crops with context, noise and steps.
        """
        return self.losses(self.answer(network, condition, batch))

    def losses(self, answer: NetworkAnswer) -> Tensor:
        """Loss of each example, shape ``[B]``."""
        error = answer.output - answer.target
        return (error.abs() if self.kind == "l1" else error.square()).mean(dim=1)

    def by_noise(self, losses: Tensor, steps: Tensor) -> Tensor:
        """Sum and number of the losses in each bin of the noise level, float64, shape ``[2, BINS]``.

        Args:
            losses: shape ``[B]``.
            steps: diffusion step of each, shape ``[B]``.
        """
        return sum_by_bin(losses, self.bins.to(losses.device)[steps.long()])

    def answer(self, network: Callable[..., Tensor], condition: Any, batch: Batch) -> NetworkAnswer:
        """Ask the network; arguments as of :meth:`forward`."""
        context, frames = self.context, self.context // self.config.mel.hop_length
        with torch.no_grad():
            mel = self.front_end(batch.wav)
            prior = make_prior(self.config.diffusion, self.front_end, mel)
            whitened = prior.whiten(batch.wav)
            clean = whitened[:, context:-context]
            inner = mel[..., frames:-frames]
            noisy = self.schedule.add_noise(clean, batch.noise, batch.step)
            target = self.process.target(clean, batch.noise, batch.step)
        autocast = torch.autocast(batch.wav.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        with autocast:
            output = network(noisy, batch.step, condition(inner))
        return NetworkAnswer(output.float(), target, noisy, whitened, prior, mel)

    def loudness_losses(self, answer: NetworkAnswer) -> Tensor:
        """Squared errors weighted by what is heard, of each example, shape ``[B]``."""
        weights = loudness_weights(self.config.diffusion, self.front_end, answer.mel)
        return weighted_square(answer.output - answer.target, weights, self.context)

    def spectral_losses(self, answer: NetworkAnswer, step: Tensor) -> Tensor:
        """STFT distance of each estimate as a waveform from its crop, times ``alpha_bar``, shape ``[B]``.

        The estimate at a step without signal is the mean of all speech with this mel, whose magnitudes are too small by
        nature: the share of signal keeps such steps from asking for the impossible. Magnitudes are compared with those
        of the whitened crop coloured again, which a perfect estimate has.

        Args:
            answer: from :meth:`answer`.
            step: diffusion step of each example, shape ``[B]``.
        """
        context = self.context
        estimate = self.process.to_clean(answer.output, answer.noisy, step)
        # The filter at the cut needs what lies beyond it; there the estimate is the speech itself.
        sides = answer.whitened[:, :context], answer.whitened[:, -context:]
        coloured = answer.prior.color(torch.cat([sides[0], estimate, sides[1]], dim=1))[:, context:-context]
        reference = answer.prior.color(answer.whitened)[:, context:-context]
        signal, _ = self.schedule.levels(step)
        return signal.square().to(coloured.dtype) * multi_resolution_loss(coloured, reference)


class Objective(nn.Module):
    """The loss as a function of a batch alone, so that DDP sees every use of a parameter inside one ``forward``.

    Args:
        network: whose parameters are learned.
        loss: of its output.
        run: the network as it is run: itself, or compiled.
        noise_weighting: see :func:`~diffwave.training.loss.noise_levels.step_weights`.
        error_weighting: ``none``, or ``loudness``, see :mod:`~diffwave.training.loss.spectral_loss`.
        stft_weight: of :meth:`DiffusionLoss.spectral_losses`; 0 leaves them out.
    """

    weights: Tensor

    def __init__(
        self,
        network: DiffWave,
        loss: DiffusionLoss,
        run: Callable[..., Tensor],
        noise_weighting: str = "none",
        stft_weight: float = 0.0,
        error_weighting: str = "none",
    ) -> None:
        super().__init__()
        self._loudness = error_weighting == "loudness"
        self.stft_weight = stft_weight
        self._weighted = noise_weighting != "none"
        weights = step_weights(noise_weighting, loss.process, loss.kind)
        self.register_buffer("weights", weights, persistent=False)  # [T]
        self.network = network
        self.loss = loss
        # In a list, so that a compiled network does not become a second child with the same parameters.
        self._run = [run]

    def forward(self, wav: Tensor, noise: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """What is minimised, and the plain loss beside it, of each example, shapes ``[B]``; see :class:`Batch`."""
        answer = self.loss.answer(self._run[0], self.network.condition, Batch(wav, noise, step))
        losses = self.loss.losses(answer)
        minimised = self.loss.loudness_losses(answer) if self._loudness else losses
        if self._weighted:
            minimised = minimised * self.weights[step.long()]
        if self.stft_weight:
            minimised = minimised + self.stft_weight * self.loss.spectral_losses(answer, step)
        return minimised, losses.detach()
