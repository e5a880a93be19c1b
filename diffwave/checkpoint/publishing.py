"""A checkpoint folder to give away: weights, configuration and a model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffwave.checkpoint.card import model_card
from diffwave.checkpoint.folder import CONFIG_NAME, WEIGHTS_NAME, Checkpoint, save_checkpoint
from diffwave.errors import InputError, reason
from diffwave.files import write_text

CARD_NAME = "README.md"
FILES = (WEIGHTS_NAME, CONFIG_NAME, CARD_NAME)


@dataclass(frozen=True)
class Published:
    """Files that were written into a folder."""

    folder: Path
    names: Sequence[str]

    def describe(self) -> str:
        """Names and size, in one line."""
        size = sum((self.folder / name).stat().st_size for name in self.names)
        return f"{self.folder}: {', '.join(self.names)}, {size / 2**20:.2f} MiB"


def check_output(folder: Path, force: bool, names: Sequence[str] = FILES) -> None:
    """Refuse to replace files that nobody said may be replaced.

    Raises:
        InputError: naming them.
    """
    there = [name for name in names if (folder / name).exists()]
    if there and not force:
        raise InputError(f"--output {folder} holds {', '.join(there)}; --force replaces it")


def publish(folder: Path, checkpoint: Checkpoint, half: bool) -> Published:
    """Write a checkpoint and its card.

    Args:
        folder: made if missing; the card calls the checkpoint by its name.
        checkpoint: what to write.
        half: store the weights in float16.

    Raises:
        InputError: if the folder cannot be written.
    """
    try:
        save_checkpoint(folder, checkpoint, half)
        write_text(folder / CARD_NAME, model_card(checkpoint, folder.resolve().name))
    except OSError as error:
        raise unwritable(folder, error) from None
    return Published(folder, FILES)


def unwritable(folder: Path, error: OSError) -> InputError:
    """What to say of a folder that cannot be written."""
    return InputError(f"--output {folder}: expected a folder that can be written; {reason(error)}")
