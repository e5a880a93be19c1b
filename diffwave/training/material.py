"""What a run learns from and is validated on, the same in every process."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from diffwave.config import ConfigError, DataConfig, MelConfig, OptimizationConfig
from diffwave.corpus.manifest import Utterance
from diffwave.corpus.selection import spread, training_and_validation
from diffwave.training.crops import CropDataset
from diffwave.training.distributed import Processes


@dataclass(frozen=True, eq=False)
class Material:
    """Lists of utterances; audio is not read yet.

    Args:
        training: utterances to learn from.
        validation: utterances to validate on.
        crops: of those to learn from.
        fingerprint, validation_fingerprint: of the utterances to learn from and to validate on.
    """

    training: list[Utterance]
    validation: list[Utterance]
    crops: CropDataset
    fingerprint: str
    validation_fingerprint: str


def gather_material(data: DataConfig, mel: MelConfig, settings: OptimizationConfig, processes: Processes) -> Material:
    """List the utterances, and see that every process has the same.

    Args:
        data: where they are.
        mel: of the model.
        settings: the batch, how many utterances validate, and the seed of the crops.
        processes: of the run.

    Raises:
        ConfigError: if there is nothing to learn from, less than a batch, or something else in another process.
    """
    training, validation = training_and_validation(data, mel.sample_rate)
    crops = CropDataset(training, mel, data.crop_frames, settings.seed)
    if settings.batch_size > len(crops):
        raise ConfigError(
            f"train.batch_size={settings.batch_size} is larger than the data: {len(crops)} crops of "
            f"{data.crop_frames} frames"
        )
    mine = fingerprint(training)
    for rank, (other, count) in enumerate(processes.gather([mine, len(training)])):
        if other != mine:
            raise ConfigError(
                f"data: expected the same utterances in every process; process {processes.rank} has {len(training)}, "
                f"process {rank} has {count}{', others' if count == len(training) else ''}"
            )
    # A manifest is sorted: its first lines may all be of one speaker.
    chosen = spread(validation)[: settings.validation_utterances]
    return Material(training, chosen, crops, mine, fingerprint(chosen))


def fingerprint(utterances: list[Utterance]) -> str:
    """Changes when names, lengths or order of the utterances do; where they lie does not matter."""
    digest = hashlib.sha256()
    for utterance in utterances:
        digest.update(f"{utterance.path.name}\0{utterance.samples}\0{utterance.speaker}\n".encode(errors="replace"))
    return digest.hexdigest()[:16]
