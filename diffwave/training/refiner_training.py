"""How the refiner learns: from what a vocoder says, and what the recordings were.

The vocoder speaks crops of the training data once. The refiner learns which finer mel the recordings had, as a median:
absolute errors, weighted with a power of the loudness. Halfway, what comes out when it is used joins what it learns
from, since it will be used more than once on the same waveform (DAgger, Ross et al. 2011).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from diffwave.config import MelConfig, ModelConfig, RefinerConfig, require
from diffwave.corpus.manifest import Utterance
from diffwave.corpus.segments import DataError, read_segment
from diffwave.errors import TrainingError
from diffwave.network.refiner import DIVISION, Refiner, refine
from diffwave.training.learner import moving_average
from diffwave.vocoder import Vocoder

log = logging.getLogger(__name__)

_WINDOW = 64  # frames of a training example
_MARGIN = 6  # frames at its ends, which see less context than they will have
_WARMUP = 200
_DECAY = 0.999
# Loudness grows with about this power of magnitude; silence keeps some weight, and shouting does not get all of it.
_LOUDNESS, _LEAST, _MOST = 0.4, 0.05, 4.0


@dataclass(frozen=True)
class RefinerTraining:
    """Settings of the refiner's training.

    Args:
        iterations: optimiser steps.
        batch_size: examples of an iteration.
        learning_rate: of AdamW at its highest; it falls linearly to zero.
        crops: utterances that the vocoder speaks a crop of.
        crop_seconds: length of that.
        seed: of weights, crops, noise and batches.
    """

    iterations: int = 9000
    batch_size: int = 16
    learning_rate: float = 1.5e-3
    crops: int = 4000
    crop_seconds: float = 4.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("iterations", "batch_size", "crops"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1; got {getattr(self, name)}")
        require(0 <= self.seed < 2**63, f"seed must be from 0 to below 2 ** 63; got {self.seed}")

    def crop_samples(self, mel: MelConfig) -> int:
        """Length of a crop in samples, a whole number of frames.

        Raises:
            ConfigError: if nothing of it would be left to learn from.
        """
        frames = round(self.crop_seconds * mel.sample_rate / mel.hop_length)
        require(
            frames > 2 * _MARGIN,
            f"crop_seconds: expected more than {2 * _MARGIN} frames of {mel.hop_length} samples at {mel.sample_rate} "
            f"Hz; got {self.crop_seconds:g} s, {frames} of them",
        )
        return frames * mel.hop_length


@dataclass(frozen=True, eq=False)
class Spoken:
    """Crops and what became of them, on the CPU.

    Args:
        wav: recordings, shape ``[n, N]``.
        output: of the vocoder, shape ``[n, N]``.
    """

    wav: Tensor
    output: Tensor


def long_enough(
    purpose: str, utterances: list[Utterance], mel: MelConfig, settings: RefinerTraining
) -> list[Utterance]:
    """The utterances that a crop fits into, ``settings.crops`` of them at most, spread over all.

    Args:
        purpose: what they are for, in the message.
        utterances: in any order, at the mel's rate.
        mel: of the vocoder.
        settings: how many and how long.

    Raises:
        TrainingError: if no utterance is long enough.
    """
    samples = settings.crop_samples(mel)
    long = [utterance for utterance in utterances if utterance.samples >= samples]
    if not long:
        seconds = samples / mel.sample_rate
        raise TrainingError(f"{purpose}: expected utterances of at least {seconds:.1f} s; there are none")
    count = min(settings.crops, len(long))
    return [long[i * len(long) // count] for i in range(count)]


def speak(
    vocoder: Vocoder, utterances: list[Utterance], settings: RefinerTraining, progress: Callable[[], None]
) -> Spoken:
    """Let the vocoder speak a crop of each utterance, without a refiner.

    Args:
        vocoder: with its own settings of sampling.
        utterances: from :func:`long_enough`.
        settings: how long; each crop has its place and its noise from the seed and its number.
        progress: called after each.

    Raises:
        DataError: if an audio file is not what the list of utterances says, or its samples are not in ``[-1, 1]``.
    """
    samples = settings.crop_samples(vocoder.config.mel)
    generator = torch.Generator().manual_seed(settings.seed)
    wavs, outputs = [], []
    for number, utterance in enumerate(utterances):
        start = int(torch.randint(utterance.samples - samples + 1, (), generator=generator))
        wavs.append(read_segment(utterance, start, samples))
        seed = settings.seed * len(utterances) + number + 1
        try:
            outputs.append(vocoder.synthesize(vocoder.mel(wavs[-1]), seed=seed, refinements=0).cpu())
        except ValueError as error:
            raise DataError(f"{utterance.path}: {error}") from None
        progress()
    return Spoken(torch.stack(wavs), torch.stack(outputs))


@dataclass(frozen=True, eq=False)
class _Examples:
    """What the refiner sees and should say, of crops of ``F`` frames; deviations are relative to its guess."""

    mel: Tensor  # [n, M, F]
    estimates: list[Tensor]  # deviations [n, M, 2 F], one tensor for each round
    target: Tensor  # deviation [n, M, 2 F]
    weight: Tensor  # [n, 2 F]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Random windows: mel, estimate, target and weight."""
        number, frames = len(self.mel), self.mel.shape[-1]
        window = min(_WINDOW, frames)
        rows = torch.randint(number, (count,), generator=generator).tolist()
        starts = torch.randint(frames - window + 1, (count,), generator=generator).tolist()
        rounds = torch.randint(len(self.estimates), (count,), generator=generator).tolist()
        fine = [slice(DIVISION * start, DIVISION * (start + window)) for start in starts]
        return (
            torch.stack([self.mel[r, :, s : s + window] for r, s in zip(rows, starts, strict=True)]),
            torch.stack([self.estimates[e][r, :, f] for e, r, f in zip(rounds, rows, fine, strict=True)]),
            torch.stack([self.target[r, :, f] for r, f in zip(rows, fine, strict=True)]),
            torch.stack([self.weight[r, f] for r, f in zip(rows, fine, strict=True)]),
        )


class RefinerLearner:
    """A refiner, its moving average, and what they learn from.

    Args:
        config: of the model; its ``refiner`` says the shape.
        training, validation: from :func:`speak`.
        settings: of the training.
    """

    def __init__(self, config: ModelConfig, training: Spoken, validation: Spoken, settings: RefinerTraining) -> None:
        self.config, self.settings = config, settings
        self._spoken = training
        torch.manual_seed(settings.seed)
        self.refiner = Refiner(config)
        self.average = AveragedModel(self.refiner, multi_avg_fn=moving_average(_DECAY))
        with torch.no_grad():
            self._training = self._examples(training)
            self._validation = self._examples(validation)

    def run(self) -> Iterator[tuple[int, float]]:
        """Learn; yields each iteration with its loss."""
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed)
        optimizer = torch.optim.AdamW(self.refiner.parameters(), lr=0.0, weight_decay=0.01)
        for iteration in range(settings.iterations):
            if iteration == settings.iterations // 2:
                self._add_round()
            rise, fall = (iteration + 1) / _WARMUP, 1 - iteration / settings.iterations
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * min(1.0, rise) * fall
            loss = self._loss(self.refiner, *self._training.draw(settings.batch_size, generator))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self.refiner.parameters(), 1.0)
            optimizer.step()
            self.average.update_parameters(self.refiner)
            yield iteration + 1, loss.item()

    @property
    def result(self) -> Refiner:
        """The averaged refiner."""
        averaged = self.average.module
        assert isinstance(averaged, Refiner)
        return averaged

    @torch.no_grad()
    def errors(self) -> tuple[float, float]:
        """Weighted error of the validation crops' finer mels in nat, of the outputs and of the refiner's answers."""
        known = self._validation
        found = torch.cat([self.result.deviation(*pair) for pair in _each(known.mel, known.estimates[0])])
        before, after = (_weighted(x - known.target, known.weight) for x in (known.estimates[0], found))
        return float(before), float(after)

    def _examples(self, spoken: Spoken) -> _Examples:
        mel = torch.cat([self.refiner.coarse(wav) for (wav,) in _each(spoken.wav)])
        magnitude = self.refiner.coarse.expand(mel).mean(dim=1)  # [n, F]
        loud = (magnitude / magnitude.mean()).pow(_LOUDNESS).clamp(_LEAST, _MOST)
        estimate, target = (self._deviations(mel, wavs) for wavs in (spoken.output, spoken.wav))
        return _Examples(mel, [estimate], target, loud.repeat_interleave(DIVISION, dim=-1))

    def _deviations(self, mel: Tensor, wavs: Tensor) -> Tensor:
        refiner = self.refiner
        return torch.cat([refiner.fine(wav) - refiner.guess(one) for wav, one in _each(wavs, mel)])

    @torch.no_grad()
    def _add_round(self) -> None:
        """What comes out of one use of the refiner becomes something to learn from, too."""
        once = replace(self.config.sampling, refinements=1)
        pairs = _each(self._spoken.output, self._training.mel)
        # One by one: the waveforms of a large corpus together would be gigabytes.
        rounds = [self._deviations(mel, refine(self.result, once, wav, mel)) for wav, mel in pairs]
        self._training.estimates.append(torch.cat(rounds))

    def _loss(self, refiner: Refiner, mel: Tensor, estimate: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        with torch.autocast(mel.device.type, torch.bfloat16):
            found = refiner.deviation(mel, estimate)
        inner = slice(DIVISION * _MARGIN, -DIVISION * _MARGIN)
        return _weighted((found.float() - target)[..., inner], weight[..., inner])


def with_shape(config: ModelConfig, shape: RefinerConfig, refinements: int) -> ModelConfig:
    """A model's configuration with a refiner that is used so many times."""
    return replace(config, refiner=shape, sampling=replace(config.sampling, refinements=refinements))


def _weighted(error: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute value of errors ``[n, M, F]`` with weights ``[n, F]``."""
    return (error.abs().mean(dim=1) * weight).mean() / weight.mean()


def _each(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Rows of tensors with as many, one after the other, each as a batch of one."""
    for index in range(len(tensors[0])):
        yield tuple(tensor[index : index + 1] for tensor in tensors)
