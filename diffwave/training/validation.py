"""Validation: does it still improve on speakers that it does not learn from?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffwave.corpus.manifest import Utterance
from diffwave.corpus.segments import read_segment
from diffwave.training.distributed import Processes
from diffwave.training.learner import Learner
from diffwave.training.loss.noise_levels import means

_SECONDS = 2.0
_STEPS = 8


class Validator:
    """Loss of the averaged weights on fixed crops, fixed noise and evenly spread diffusion steps.

    Every process takes its share of the utterances; the figures do not depend on how many processes there are.

    Args:
        utterances: the middle of each is used.
        learner: whose weights.
        processes: that share the work.
    """

    def __init__(self, utterances: list[Utterance], learner: Learner, processes: Processes) -> None:
        self.utterances = utterances
        self.learner = learner
        self.processes = processes
        self.steps = torch.linspace(0, len(learner.loss.schedule) - 1, _STEPS).round()

    def figures(self) -> dict[str, Any]:
        """``validation_loss`` and ``validation_loss_by_noise``.

        Raises:
            DataError: if an utterance cannot be read any more.
        """
        numbers = range(self.processes.rank, len(self.utterances), self.processes.count)
        mine = {str(number): self._losses(number) for number in numbers}
        # A sum in another order is another sum: put the utterances in order before adding.
        found = {int(number): losses for part in self.processes.gather(mine) for number, losses in part.items()}
        losses = torch.tensor([found[number] for number in sorted(found)], dtype=torch.float64)  # [U, _STEPS]
        sums, counts = self.learner.loss.by_noise(losses.flatten(), self.steps.repeat(len(losses))).tolist()
        return {
            "validation_loss": float(losses.mean()),
            "validation_loss_by_noise": means(sums, counts),
        }

    def _losses(self, number: int) -> list[float]:
        """At each diffusion step."""
        losses: list[float] = self.learner.validation_losses(self._middle(number), number, self.steps).tolist()
        return losses

    def _middle(self, number: int) -> Tensor:
        """Some seconds from the middle of an utterance, with context."""
        utterance, mel, context = self.utterances[number], self.learner.loss.config.mel, self.learner.loss.context
        frames = max(min(int(_SECONDS * mel.sample_rate), utterance.samples) // mel.hop_length, 1)
        length = frames * mel.hop_length
        return read_segment(utterance, (utterance.samples - length) // 2 - context, length + 2 * context)
