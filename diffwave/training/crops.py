"""Speech for training: random crops of utterances.

Nothing here has a state to save. The crop with number ``i`` is a function of ``(seed, i)``: every epoch is
a new order of all utterances, and iteration ``k`` takes the crops from ``k * batch`` on.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from diffwave.config import ConfigError, MelConfig
from diffwave.corpus.manifest import Utterance
from diffwave.corpus.segments import read_segment

log = logging.getLogger(__name__)


class Crops(NamedTuple):
    """Crops of a micro-batch, or one of them.

    Args:
        number: which crop of the run, counted from 0; integer, shape ``[B]``.
        wav: with context on both sides, float32, shape ``[B, crop + 2 * context]``.
    """

    number: Tensor
    wav: Tensor


class CropDataset(Dataset[Crops]):
    """Random crops with context on both sides, numbered without end.

    Args:
        utterances: to crop from; long ones are visited more often, about once per crop length and epoch.
        mel: for the hop and the size of a frame.
        crop_frames: length in mel frames.
        seed: of order and positions.

    Raises:
        ConfigError: if every utterance is shorter than a crop.
    """

    def __init__(self, utterances: list[Utterance], mel: MelConfig, crop_frames: int, seed: int) -> None:
        self.seed = seed
        self.context = context_samples(mel)
        self.crop = crop_frames * mel.hop_length
        self.utterances = [u for u in utterances if u.samples >= self.crop]
        if not self.utterances:
            raise ConfigError(
                f"data.crop_frames={crop_frames} needs utterances of {self.crop} samples; the longest has "
                f"{max((u.samples for u in utterances), default=0)}"
            )
        if len(self.utterances) < len(utterances):
            log.info("%d utterances are shorter than a crop", len(utterances) - len(self.utterances))
        # Visit v is of the first utterance whose end lies beyond v: one number for each utterance, not for each visit.
        self._ends = np.cumsum([u.samples // self.crop for u in self.utterances])

    def __len__(self) -> int:
        """Crops in an epoch."""
        return int(self._ends[-1])

    def locate(self, number: int) -> tuple[Utterance, int]:
        """Utterance and first sample of crop ``number``."""
        epoch, position = divmod(number, len(self))
        visit = _epoch_order(self.seed, epoch, len(self))[position]
        utterance = self.utterances[int(np.searchsorted(self._ends, visit, side="right"))]
        rng = np.random.default_rng([self.seed, 2, number])
        return utterance, int(rng.integers(0, utterance.samples - self.crop + 1))

    def __getitem__(self, number: int) -> Crops:
        """Crop ``number`` with its context; ``number`` has shape ``[]``, ``wav`` ``[crop + 2 * context]``.

        Raises:
            DataError: if the file cannot be read any more.
        """
        utterance, start = self.locate(number)
        wav = read_segment(utterance, start - self.context, self.crop + 2 * self.context)
        return Crops(torch.tensor(number), wav)


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Order of an epoch's visits; a function of its arguments, so that a dataset can be sent to loader processes."""
    return np.random.default_rng([seed, 1, epoch]).permutation(count)


def context_samples(mel: MelConfig) -> int:
    """Samples on each side that the mel of a crop depends on, rounded up to whole hops."""
    return -(-mel.n_fft // 2 // mel.hop_length) * mel.hop_length
