"""Speech for training: which utterances there are, and random crops of them.

Nothing here has a state to save. The crop with number ``i`` is a function of ``(seed, i)``: every epoch is
a new order of all utterances, and a run that goes on at iteration ``k`` draws the crops from ``k * batch``.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from diffwave.audio import AUDIO_SUFFIXES
from diffwave.config import ConfigError, DataConfig, MelConfig

log = logging.getLogger(__name__)

# One utterance in so many is held out where no validation speaker is named.
_HOLD_OUT = 20


@dataclass(frozen=True)
class Utterance:
    """One line of a manifest.

    Args:
        path: of the audio file.
        samples: length, in samples of its own rate.
        sample_rate: in Hz.
        speaker: the folder below the subset in LibriSpeech; the parent folder's name elsewhere.
    """

    path: Path
    samples: int
    sample_rate: int
    speaker: str


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
    for path in _audio_paths(root, config.subsets):
        try:
            info = soundfile.info(path)
        except (soundfile.LibsndfileError, RuntimeError):
            unreadable += 1
            log.warning("skipped %s: not readable audio", path)
            continue
        utterances.append(Utterance(path, info.frames, info.samplerate, _speaker(path, root)))
    if not utterances:
        raise ConfigError(f"data.root: expected audio below {root}; found none ({unreadable} unreadable)")
    other = next((u for u in utterances if u.sample_rate != sample_rate), None)
    if other is not None:
        raise ConfigError(
            f"data.root: expected {sample_rate} Hz, the rate of model.mel; {other.path} has {other.sample_rate} Hz"
        )
    return utterances


def _audio_paths(root: Path, subsets: list[str]) -> list[Path]:
    """Audio files below the subsets; of a LibriSpeech root only its training subsets by default."""
    if subsets:
        missing = [name for name in subsets if not (root / name).is_dir()]
        if missing:
            raise ConfigError(f"data.subsets: expected folders of {root}; missing: {', '.join(missing)}")
        folders = [root / name for name in subsets]
    else:
        training = sorted(path for path in root.glob("train-*") if path.is_dir())
        folders = training or [root]
    return sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
    )


def _speaker(path: Path, root: Path) -> str:
    """LibriSpeech names its files ``speaker-chapter-utterance``; elsewhere the folder stands for the speaker."""
    librispeech = re.fullmatch(r"(\d+)-\d+-\d+", path.stem)
    if librispeech:
        return librispeech[1]
    parts = path.relative_to(root).parts
    return parts[-2] if len(parts) >= 2 else path.stem


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


class CropDataset(Dataset[Tensor]):
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
        long_enough = [u for u in utterances if u.samples >= self.crop]
        if not long_enough:
            raise ConfigError(
                f"data.crop_frames={crop_frames} needs utterances of {self.crop} samples; the longest has "
                f"{max((u.samples for u in utterances), default=0)}"
            )
        if len(long_enough) < len(utterances):
            log.info("%d utterances are shorter than a crop", len(utterances) - len(long_enough))
        self.visits = [u for u in long_enough for _ in range(u.samples // self.crop)]

    def __getitem__(self, number: int) -> Tensor:
        """Crop ``number`` with its context, float32, shape ``[crop + 2 * context]``."""
        epoch, position = divmod(number, len(self.visits))
        utterance = self.visits[_epoch_order(self.seed, epoch, len(self.visits))[position]]
        rng = np.random.default_rng([self.seed, 2, number])
        start = int(rng.integers(0, utterance.samples - self.crop + 1))
        return read_segment(utterance, start - self.context, self.crop + 2 * self.context)


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Order of an epoch's visits; a function of its arguments, so that a dataset can be sent to loader processes."""
    return np.random.default_rng([seed, 1, epoch]).permutation(count)


def context_samples(mel: MelConfig) -> int:
    """Samples on each side that the mel of a crop depends on, rounded up to whole hops."""
    return -(-mel.n_fft // 2 // mel.hop_length) * mel.hop_length


def read_segment(utterance: Utterance, start: int, length: int) -> Tensor:
    """Read ``length`` samples from ``start`` by seeking; outside the file the signal is zero.

    Raises:
        RuntimeError: if the file is shorter than its header says.
    """
    import soundfile

    first, last = max(start, 0), min(start + length, utterance.samples)
    samples, _ = soundfile.read(utterance.path, start=first, stop=last, dtype="float32", always_2d=True)
    if len(samples) != last - first:
        raise RuntimeError(f"{utterance.path}: expected {last - first} samples; got {len(samples)}")
    segment = np.zeros(length, dtype=np.float32)
    segment[first - start : last - start] = samples.mean(axis=1)
    return torch.from_numpy(segment)
