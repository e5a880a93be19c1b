"""What a run learns from and is validated on, the same in every process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffwave.config import ConfigError, TrainingConfig
from diffwave.corpus.manifest import Utterance
from diffwave.corpus.selection import spread, training_and_validation
from diffwave.training.crops import CropDataset
from diffwave.training.distributed import Processes
from diffwave.training.record.progress import fingerprint
from diffwave.training.record.story import origin_story


@dataclass(frozen=True, eq=False)
class Material:
    """Lists of utterances; audio is not read yet.

    Args:
        dataset: crops to learn from.
        validation: utterances to validate on.
        fingerprint, validation_fingerprint: of the utterances to learn from and to validate on.
        origin: data and code, for the story of the checkpoint.
    """

    dataset: CropDataset
    validation: list[Utterance]
    fingerprint: str
    validation_fingerprint: str
    origin: dict[str, Any]


def gather_material(config: TrainingConfig, processes: Processes) -> Material:
    """List the utterances, and see that every process has the same.

    Raises:
        ConfigError: if there is nothing to learn from, less than a batch, or something else in another process.
    """
    training, validation = training_and_validation(config.data, config.model.mel.sample_rate)
    dataset = CropDataset(training, config.model.mel, config.data.crop_frames, config.train.seed)
    if config.train.batch_size > len(dataset):
        raise ConfigError(
            f"train.batch_size={config.train.batch_size} is larger than the data: {len(dataset)} crops of "
            f"{config.data.crop_frames} frames"
        )
    mine = fingerprint(training)
    for rank, (other, count) in enumerate(processes.gather([mine, len(training)])):
        if other != mine:
            raise ConfigError(
                f"data: expected the same utterances in every process; process {processes.rank} has {len(training)}, "
                f"process {rank} has {count}{', others' if count == len(training) else ''}"
            )
    # A manifest is sorted: its first lines may all be of one speaker.
    chosen = spread(validation)[: config.train.validation_utterances]
    return Material(dataset, chosen, mine, fingerprint(chosen), origin_story(training, chosen, config))
