"""Checkpoints: their folder, their card, and which source code made them."""

from diffwave.checkpoint.folder import (
    Checkpoint,
    CheckpointError,
    checkpoint_folder,
    load_checkpoint,
    load_config,
    packaged_checkpoints,
    save_checkpoint,
)

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "checkpoint_folder",
    "load_checkpoint",
    "load_config",
    "packaged_checkpoints",
    "save_checkpoint",
]
