"""Which audio lies in a folder tree, in which subset of the corpus, and who speaks in it.

Two kinds of trees are known: a LibriSpeech root (openslr.org/12), ``subset/speaker/chapter/utterance.flac``, and any
other, where the folder that an utterance lies in stands for its speaker.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from diffwave.audio.file import AUDIO_SUFFIXES
from diffwave.config import ConfigError

EVALUATION_SUBSETS = ("dev-clean", "dev-other", "test-clean", "test-other")
_TRAINING_PREFIX = "train-"


def audio_paths(root: Path, subsets: Sequence[str], prefix: str = "data.") -> list[Path]:
    """Audio files below the subsets, sorted; hidden files and folders are left out.

    Args:
        root: folder of the corpus.
        subsets: folders of ``root``; if there are none, its ``train-*`` folders, or all of a root without such.
        prefix: what stands before ``root`` and ``subsets`` in messages, where these settings come from.

    Raises:
        ConfigError: if the root or a subset is no folder, or a folder cannot be listed.
    """
    if not root.is_dir():
        raise ConfigError(f"{prefix}root: expected a folder of audio; {root} is not one")
    missing = [name for name in subsets if not (root / name).is_dir()]
    if missing:
        raise ConfigError(f"{prefix}subsets: expected folders of {root}; missing: {', '.join(missing)}")
    folders = [root / name for name in subsets] or training_folders(root) or [root]
    # A set: a subset may be named twice, or lie in another.
    return sorted({path for folder in folders for path in _audio_below(folder, prefix)})


def training_folders(root: Path) -> list[Path]:
    """The ``train-*`` folders of a LibriSpeech root; none of any other."""
    return sorted(path for path in root.glob(f"{_TRAINING_PREFIX}*") if path.is_dir())


def speaker_of(path: Path, root: Path) -> str:
    """Who speaks: LibriSpeech names its files ``speaker-chapter-utterance``; elsewhere it is the folder's name.

    Args:
        path: of an utterance below ``root``. One that lies in ``root`` itself is a speaker of its own.
        root: folder of the corpus.
    """
    named = librispeech_speaker(path.stem)
    if named:
        return named
    parts = path.relative_to(root).parts
    return parts[-2] if len(parts) >= 2 else path.stem


def librispeech_speaker(stem: str) -> str:
    """The speaker in a name such as ``103-1240-0000``; empty in any other.

    >>> librispeech_speaker("103-1240-0000")
    '103'
    """
    found = re.fullmatch(r"(\d+)-\d+-\d+", stem)
    return found[1] if found else ""


def subset_of(path: Path, root: Path, subsets: Sequence[str] = ()) -> str:
    """Which part of the corpus an utterance lies in; empty if the corpus has no parts.

    Args:
        path: of an utterance below ``root``.
        root: folder of the corpus.
        subsets: folders of ``root`` that count as parts, beside LibriSpeech's own.
    """
    relative = path.relative_to(root)
    first = relative.parts[0] if len(relative.parts) >= 2 else ""
    if first.startswith(_TRAINING_PREFIX) or first in EVALUATION_SUBSETS:
        return first
    return max((name for name in subsets if relative.is_relative_to(name)), key=len, default="")


def _audio_below(folder: Path, prefix: str) -> Iterator[Path]:
    """Audio files at any depth. Links to folders are followed, each folder is entered once."""

    def refuse(error: OSError) -> None:
        # Silently, a folder that cannot be listed would be missing from the corpus.
        raise ConfigError(f"{prefix}root: expected folders that can be listed; {error.filename}: {error.strerror}")

    seen = {os.path.realpath(folder)}
    for where, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        # By real path, the first name of each folder: a link back to a folder above would never end.
        inside = {os.path.realpath(Path(where, name)): name for name in sorted(folders, reverse=True) if name[0] != "."}
        folders[:] = [name for real, name in reversed(inside.items()) if real not in seen]
        seen.update(inside)
        for name in names:
            path = Path(where, name)
            if not name.startswith(".") and path.suffix.lower() in AUDIO_SUFFIXES and path.is_file():
                yield path
