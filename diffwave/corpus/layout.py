"""A split as a folder: links to its recordings, for every program that takes folders of audio."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from diffwave.config import ConfigError
from diffwave.corpus.manifest import Utterance
from diffwave.corpus.split import rank

# Hidden, so that nobody who looks for audio trips over it.
_MARK = ".made-by-prepare"


def choose(
    utterances: Iterable[Utterance], seed: int, per_speaker: int, preferred: Collection[Path] = (), at_least: int = 0
) -> list[Utterance]:
    """Some utterances of each speaker, sorted by path.

    Args:
        utterances: to choose from.
        seed: of the choice, which is by hash: it does not depend on what else is there.
        per_speaker: how many of each; 0 for all.
        preferred: taken first.
        at_least: so many in all, if there are; a corpus with few speakers has more of each then.
    """
    by_speaker: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        by_speaker.setdefault(utterance.speaker, []).append(utterance)
    most = max(map(len, by_speaker.values()), default=0)
    while 0 < per_speaker < most and sum(min(per_speaker, len(some)) for some in by_speaker.values()) < at_least:
        per_speaker += 1
    chosen: list[Utterance] = []
    for some in by_speaker.values():
        some.sort(key=lambda u: (u.path not in preferred, rank(seed, u.path.name), u.path))
        chosen += some[: per_speaker or None]
    return sorted(chosen, key=lambda u: u.path)


def lay_out(folder: Path, utterances: Iterable[Utterance], root: Path) -> None:
    """Make a folder with a link to each utterance, or a copy where there are no links.

    Args:
        folder: to make; below it is the structure of ``root``.
        utterances: to link.
        root: of the corpus.

    Raises:
        OSError: if it cannot be written.
    """
    folder.mkdir(parents=True)
    (folder / _MARK).touch()
    for utterance in utterances:
        link = folder / utterance.path.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to(utterance.path)
        except OSError:  # FAT, some network file systems, Windows without the right to
            shutil.copyfile(utterance.path, link)


def check_replaceable(folder: Path) -> None:
    """Refuse to replace a folder that is not ours.

    Raises:
        ConfigError: if it is there and :func:`lay_out` did not make it.
    """
    if os.path.lexists(folder) and not (folder / _MARK).is_file():
        raise ConfigError(f"--output: expected {folder} to be free for links; something else is there")
