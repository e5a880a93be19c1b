"""Validation: does it still improve on speakers that it does not learn from?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffwave.config import MelConfig
from diffwave.corpus.manifest import Utterance
from diffwave.training.crops import read_segment
from diffwave.training.distributed import Processes
from diffwave.training.learner import Learner
from diffwave.training.loss.noise_levels import bin_table, means, sum_by_bin

_SECONDS = 2.0
_STEPS = 8


class Validator:
    """Loss of the averaged weights on fixed crops, fixed noise and evenly spread diffusion steps.

    Every process takes its share of the utterances; the figures do not depend on how many processes there are.

    Args:
        utterances: the middle of each is used.
        mel: for the hop and the rate.
        learner: whose weights.
        processes: that share the work.
    """

    def __init__(self, utterances: list[Utterance], mel: MelConfig, learner: Learner, processes: Processes) -> None:
        self.utterances = utterances
        self.mel = mel
        self.learner = learner
        self.processes = processes
        steps = len(learner.loss.schedule)
        self.steps = torch.linspace(0, steps - 1, _STEPS).round()
        self.bins = bin_table(learner.loss.schedule)[self.steps.long()]

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
        sums, counts = sum_by_bin(losses.flatten(), self.bins.repeat(len(losses))).tolist()
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
        utterance, hop, context = self.utterances[number], self.mel.hop_length, self.learner.loss.context
        length = max(min(int(_SECONDS * self.mel.sample_rate), utterance.samples) // hop, 1) * hop
        return read_segment(utterance, (utterance.samples - length) // 2 - context, length + 2 * context)
