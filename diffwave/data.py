"""Speech for training: which utterances there are, and random crops of them.

Nothing here has a state to save. The crop with number ``i`` is a function of ``(seed, i)``: every epoch is
a new order of all utterances, and iteration ``k`` takes the crops from ``k * batch`` on. Each process of a
distributed run takes its share of the same numbers, so the data do not depend on how many processes there are.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from diffwave.config import ConfigError, DataConfig, MelConfig
from diffwave.corpus.folders import audio_paths, speaker_of, subset_of
from diffwave.corpus.manifest import Utterance, read_manifest

log = logging.getLogger(__name__)

# One utterance in so many is held out where no validation speaker is named.
_HOLD_OUT = 20


class DataError(RuntimeError):
    """Audio that is no longer what the list of utterances says; the message names the file."""


def training_and_validation(config: DataConfig, sample_rate: int) -> tuple[list[Utterance], list[Utterance]]:
    """The utterances to train on and to validate on, from manifests or from a folder.

    Args:
        config: manifests, or root and subsets.
        sample_rate: what the model needs, in Hz.

    Raises:
        ConfigError: if there is nothing to train on, or audio of another rate.
    """
    if not config.manifest:
        utterances = find_utterances(config, sample_rate)
    else:
        utterances = _of_rate(read_manifest(Path(config.manifest).expanduser()), sample_rate, "data.manifest")
    if not config.validation_manifest:
        return split(utterances, config.validation_speakers)
    path = Path(config.validation_manifest).expanduser()
    validation = _of_rate(read_manifest(path), sample_rate, "data.validation_manifest")
    held_out = {os.path.normpath(utterance.path) for utterance in validation}
    training = [utterance for utterance in utterances if os.path.normpath(utterance.path) not in held_out]
    if not training:
        raise ConfigError(f"data.validation_manifest={path}: expected somebody to train on; every utterance is in it")
    shared = {utterance.speaker for utterance in training} & {utterance.speaker for utterance in validation}
    if shared:
        log.warning("speakers in both training and validation, so that it looks too good: %d", len(shared))
    return training, validation


def find_utterances(config: DataConfig, sample_rate: int) -> list[Utterance]:
    """List the usable audio files below ``config.root``, sorted by path.

    Args:
        config: root and subsets.
        sample_rate: what the model needs, in Hz.

    Raises:
        ConfigError: if there is no such folder, no audio in it, or audio of another rate.
    """
    import soundfile

    root = Path(config.root).expanduser()
    if not root.is_dir():
        raise ConfigError(f"data.root: expected a folder of audio; {root} is not one")
    utterances, unreadable = [], 0
    for path in audio_paths(root, config.subsets):
        try:
            info = soundfile.info(path)
        except (soundfile.LibsndfileError, RuntimeError):
            unreadable += 1
            log.warning("skipped %s: not readable audio", path)
            continue
        if not info.frames:
            unreadable += 1
            log.warning("skipped %s: empty", path)
            continue
        utterances.append(Utterance(path, info.frames, info.samplerate, speaker_of(path, root), subset_of(path, root)))
    if not utterances:
        raise ConfigError(f"data.root: expected audio below {root}; found none ({unreadable} unreadable)")
    return _of_rate(utterances, sample_rate, "data.root")


def _of_rate(utterances: list[Utterance], sample_rate: int, setting: str) -> list[Utterance]:
    """The utterances, if all have the model's rate."""
    other = next((u for u in utterances if u.sample_rate != sample_rate), None)
    if other is not None:
        raise ConfigError(
            f"{setting}: expected {sample_rate} Hz, the rate of model.mel; {other.path} has {other.sample_rate} Hz"
        )
    return utterances


def spread(utterances: list[Utterance]) -> list[Utterance]:
    """The utterances in another order: first one of every speaker, then a second one of every speaker, and so on.

    So the first few of them are of as many speakers as possible.
    """
    seen: Counter[str] = Counter()
    turns: list[int] = []
    for utterance in utterances:
        turns.append(seen[utterance.speaker])
        seen[utterance.speaker] += 1
    return [utterances[place] for place in sorted(range(len(utterances)), key=turns.__getitem__)]


def split(utterances: list[Utterance], validation_speakers: list[str]) -> tuple[list[Utterance], list[Utterance]]:
    """Divide into training and validation utterances, disjoint by speaker where speakers are named.

    Raises:
        ConfigError: if nothing is left to train on.
    """
    held_out = set(validation_speakers)
    validation = [u for u in utterances if u.speaker in held_out]
    if utterances and len(validation) == len(utterances):
        raise ConfigError("data.validation_speakers: expected somebody to train on; every speaker is held out")
    if validation:
        return [u for u in utterances if u.speaker not in held_out], validation
    if len(utterances) == 1:
        return utterances, utterances
    validation = utterances[::_HOLD_OUT]
    chosen = {u.path for u in validation}
    return [u for u in utterances if u.path not in chosen], validation


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


class Shares:
    """The crop numbers that one process takes, a list for each micro-batch, in order.

    Args:
        numbers: of the crops that are left, a whole number of batches.
        batch: crops of an iteration, over all processes.
        rank, processes: which of how many.
        accumulate: micro-batches of an iteration and process.
    """

    def __init__(self, numbers: range, batch: int, rank: int = 0, processes: int = 1, accumulate: int = 1) -> None:
        self.numbers, self.batch, self.accumulate = numbers, batch, accumulate
        self.share = batch // processes
        self.offset = rank * self.share

    def __iter__(self) -> Iterator[list[int]]:
        """Micro-batches of every iteration."""
        size = self.share // self.accumulate
        for start in range(self.numbers.start + self.offset, self.numbers.stop, self.batch):
            for first in range(start, start + self.share, size):
                yield list(range(first, first + size))

    def __len__(self) -> int:
        """Micro-batches of all iterations."""
        return len(self.numbers) // self.batch * self.accumulate


def context_samples(mel: MelConfig) -> int:
    """Samples on each side that the mel of a crop depends on, rounded up to whole hops."""
    return -(-mel.n_fft // 2 // mel.hop_length) * mel.hop_length


def read_segment(utterance: Utterance, start: int, length: int) -> Tensor:
    """Read ``length`` samples from ``start`` by seeking; outside the file the signal is zero.

    Raises:
        DataError: if the file is gone, damaged, or shorter than it was when it was listed.
    """
    import soundfile

    first, last = max(start, 0), min(start + length, utterance.samples)
    try:
        samples, rate = soundfile.read(utterance.path, start=first, stop=last, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, OSError, ValueError) as error:
        raise DataError(f"{utterance.path}: expected audio; {str(error).splitlines()[0]}") from None
    if len(samples) != last - first or rate != utterance.sample_rate:
        raise DataError(
            f"{utterance.path}: expected {last - first} samples at {utterance.sample_rate} Hz from {first}; got "
            f"{len(samples)} at {rate} Hz"
        )
    segment = np.zeros(length, dtype=np.float32)
    segment[first - start : last - start] = samples.mean(axis=1)
    return torch.from_numpy(segment)
