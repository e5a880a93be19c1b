"""From the inputs on a command line to a list of jobs: what is read, and what is written where.

A file's suffix decides what it is. A folder is walked, and its structure is kept below the output folder.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diffwave.config.conventions import MEL_SUFFIXES
from diffwave.errors import InputError, reason


@dataclass(frozen=True)
class FileJob:
    """One input file and the WAV file it becomes."""

    source: Path
    output: Path

    @property
    def is_mel(self) -> bool:
        """Whether the input is a mel spectrogram rather than a recording."""
        return self.source.suffix.lower() in MEL_SUFFIXES


def input_suffixes() -> tuple[str, ...]:
    """The suffixes of everything that can be synthesized."""
    # Imported late: diffwave.audio.file brings torch along, which --help does not need.
    from diffwave.audio.file import AUDIO_SUFFIXES

    return AUDIO_SUFFIXES + MEL_SUFFIXES


def plan_jobs(inputs: list[Path], folder: Path, force: bool) -> tuple[list[FileJob], list[str]]:
    """Match inputs with outputs and set aside what must not run.

    Args:
        inputs: files and folders.
        folder: where outputs go.
        force: whether an output may replace an existing file.

    Returns:
        The jobs to run, and for each input that is refused one line that says why.
    """
    found, refused = _find(inputs, folder)
    sources = {_real(job.source): job.source for job in found}
    by_output: dict[Path, dict[Path, FileJob]] = defaultdict(dict)
    for job in found:
        # The same file twice under the same output name is no conflict: it is done once.
        by_output[job.output].setdefault(_real(job.source), job)
    jobs: list[FileJob] = []
    for output, rivals in by_output.items():
        why_not = _refusal(output, list(rivals.values()), sources, force)
        if why_not:
            refused.append(why_not)
        else:
            jobs.extend(rivals.values())
    return jobs, refused


def _refusal(output: Path, rivals: list[FileJob], sources: dict[Path, Path], force: bool) -> str:
    """Why ``output`` must not be written; empty if it may."""
    source = rivals[0].source
    if len(rivals) > 1:
        names = " and ".join(str(job.source) for job in rivals)
        return f"{names}: expected one input for each output; both would write {output}"
    replaced = sources.get(_real(output))
    if replaced is not None:
        which = "the input" if replaced == source else f"the input {replaced}"
        return f"{source}: the output would replace {which}; choose another --output"
    try:
        if output.is_dir():
            return f"{source}: expected to write {output}; it is a folder"
        if not force and (output.exists() or output.is_symlink()):
            return f"{source}: output {output} exists; --force replaces it"
    except OSError as error:
        return f"{source}: {output} cannot be written; {reason(error)}"
    return ""


def _real(path: Path) -> Path:
    """The path without links; unlike ``Path.resolve`` it never raises, not even for links in a circle."""
    return Path(os.path.realpath(path))


def _find(inputs: list[Path], folder: Path) -> tuple[list[FileJob], list[str]]:
    jobs: list[FileJob] = []
    refused: list[str] = []
    for path in inputs:
        try:
            if path.is_dir():
                jobs.extend(_folder_jobs(path, folder, refused))
            else:
                _check_suffix(path)
                jobs.append(FileJob(path, folder / (path.stem + ".wav")))
        except InputError as error:
            refused.append(str(error))
        except OSError as error:
            refused.append(f"{path}: {reason(error)}")
    return jobs, refused


def _check_suffix(path: Path) -> None:
    suffixes = input_suffixes()
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: expected audio or a mel ({' '.join(suffixes)}); got {path.suffix or 'no suffix'}")


def _folder_jobs(root: Path, folder: Path, refused: list[str]) -> list[FileJob]:
    """Jobs for everything below ``root``; subfolders that cannot be listed are added to ``refused``."""
    suffixes, before = input_suffixes(), len(refused)
    files = [path for path in _walk(root, _real(folder), refused) if path.suffix.lower() in suffixes]
    if not files and len(refused) == before:
        raise InputError(f"{root}: expected a folder with audio or mels ({' '.join(suffixes)}); found none")
    return [FileJob(path, (folder / path.relative_to(root)).with_suffix(".wav")) for path in files]


def _walk(root: Path, outputs: Path, refused: list[str]) -> Iterator[Path]:
    """Files below ``root`` in a fixed order, without hidden ones and without the folder of the outputs."""

    def complain(error: OSError) -> None:
        refused.append(f"{error.filename}: expected a folder that can be listed; {reason(error)}")

    for name, folders, files in os.walk(root, onerror=complain, followlinks=True):
        here = Path(name)
        folders[:] = sorted(folder for folder in folders if _enter(here / folder, outputs))
        yield from (here / file for file in sorted(files) if not file.startswith("."))


def _enter(folder: Path, outputs: Path) -> bool:
    """Whether a walk goes on into ``folder``."""
    real = _real(folder)
    # Hidden folders hold caches and version control; our own outputs are no inputs.
    if folder.name.startswith(".") or real == outputs:
        return False
    # A link to a folder that we are inside of would be walked forever.
    return not (folder.is_symlink() and any(_real(parent) == real for parent in folder.absolute().parents))
