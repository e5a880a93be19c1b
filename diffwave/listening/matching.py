"""Which utterances there are in the folders of the reference and of the systems, and which files belong together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from diffwave.audio.file import AUDIO_SUFFIXES
from diffwave.evaluation.names import match_names
from diffwave.listening.documents import ListeningError


@dataclass(frozen=True)
class Item:
    """One utterance in all its versions.

    Args:
        name: path relative to the reference's folder, without suffix, with "/".
        reference: file of the reference.
        systems: file of each system, by its name.
    """

    name: str
    reference: Path
    systems: Mapping[str, Path]


def match_items(reference: Path, systems: Mapping[str, Path]) -> tuple[list[Item], list[str]]:
    """Bring together what is the same utterance.

    Files belong together if their relative paths without suffix are equal; for a system whose folders are
    arranged differently, if the names of the files are, as far as these are unique.

    Args:
        reference: folder of the reference.
        systems: folder of each system, by its name.

    Returns:
        Items that every system has, sorted by name, and one line for each system about those that it lacks.

    Raises:
        ListeningError: if a folder cannot be read or has no audio, or no item is in all of them.
    """
    references = _index(reference)
    found = {name: _align(references, _index(folder)) for name, folder in systems.items()}
    notes = []
    for name, files in found.items():
        if not files:
            raise ListeningError(
                f"{systems[name]}: expected files named as in {reference} (such as {next(iter(references))}); none is"
            )
        missing = [item for item in references if item not in files]
        if missing:
            notes.append(f"{name} lacks {len(missing)} of {len(references)} utterances, left out: {some(missing)}")
    usable = [item for item in references if all(item in files for files in found.values())]
    if not usable:
        raise ListeningError(f"{reference}: expected utterances that every system has; none is in all of the folders")
    items = [Item(name, references[name], {s: files[name] for s, files in found.items()}) for name in usable]
    return items, notes


def _index(folder: Path) -> dict[str, Path]:
    """Audio files below ``folder`` by relative path without suffix, sorted."""
    if not folder.is_dir():
        raise ListeningError(f"{folder}: expected a folder with audio; there is no such folder")
    files: dict[str, Path] = {}
    for path in _walk(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            raise ListeningError(f"{folder}: expected one file for each utterance; got {files[name].name}, {path.name}")
        files[name] = path
    if not files:
        raise ListeningError(f"{folder}: expected audio ({' '.join(AUDIO_SUFFIXES)}); found none")
    return dict(sorted(files.items()))


def _walk(folder: Path) -> Iterable[Path]:
    entered = set()
    for name, folders, files in os.walk(folder, onerror=_complain, followlinks=True):
        # A link to a folder that we are inside of would be walked forever.
        real = os.path.realpath(name)
        folders[:] = [] if real in entered else sorted(f for f in folders if not f.startswith("."))
        if real not in entered:
            yield from (Path(name) / file for file in sorted(files) if _is_audio(file))
        entered.add(real)


def _complain(error: OSError) -> None:
    raise ListeningError(f"{error.filename}: expected a folder that can be listed; {error.strerror or error}")


def _is_audio(file: str) -> bool:
    # Names that are no UTF-8 (surrogates in Python) cannot be written into the key.
    readable = not any("\ud800" <= character <= "\udfff" for character in file)
    return readable and not file.startswith(".") and Path(file).suffix.lower() in AUDIO_SUFFIXES


def _align(references: Mapping[str, Path], files: dict[str, Path]) -> dict[str, Path]:
    """The files of a system under the names of the reference's items."""
    names = {ours: theirs for theirs, ours in match_names(references, files).items()}
    return {name: files[names[name]] for name in references if name in names}


def some(names: list[str], most: int = 3) -> str:
    """The first names of a list, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
