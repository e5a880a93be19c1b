"""From the inputs on a command line to a list of jobs: what is read, and what is written where.

A file's suffix decides what it is. A folder is walked, and its structure is kept below the output folder.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from diffwave.audio import AUDIO_SUFFIXES

MEL_SUFFIXES = (".npy", ".pt")


class InputError(ValueError):
    """An input that cannot become an output; the message names it."""


@dataclass(frozen=True)
class Job:
    """One input file and the WAV file it becomes."""

    source: Path
    output: Path

    @property
    def is_mel(self) -> bool:
        """Whether the input is a mel spectrogram rather than a recording."""
        return self.source.suffix.lower() in MEL_SUFFIXES


def plan_jobs(inputs: list[Path], folder: Path, force: bool) -> tuple[list[Job], list[str]]:
    """Match inputs with outputs and set aside what must not run.

    Args:
        inputs: files and folders.
        folder: where outputs go.
        force: whether an output may replace an existing file.

    Returns:
        The jobs to run, and for each input that is refused one line that says why.
    """
    found, refused = _find(inputs, folder)
    by_output: dict[Path, list[Job]] = defaultdict(list)
    for job in dict.fromkeys(found):
        by_output[job.output].append(job)
    jobs = []
    for output, rivals in by_output.items():
        reason = _refusal(output, rivals, force)
        if reason:
            refused.append(reason)
        else:
            jobs.append(rivals[0])
    return jobs, refused


def _refusal(output: Path, rivals: list[Job], force: bool) -> str:
    if len(rivals) > 1:
        names = " and ".join(str(job.source) for job in rivals)
        return f"{names}: expected one input for each output; both would write {output}"
    source = rivals[0].source
    if output.exists() and output.resolve() == source.resolve():
        return f"{source}: the output would replace the input; choose another --output"
    if output.exists() and not force:
        return f"{source}: output {output} exists; --force replaces it"
    return ""


def _find(inputs: list[Path], folder: Path) -> tuple[list[Job], list[str]]:
    jobs, refused = [], []
    suffixes = AUDIO_SUFFIXES + MEL_SUFFIXES
    for path in inputs:
        if path.is_dir():
            files = sorted(f for f in path.rglob("*") if f.suffix.lower() in suffixes and f.is_file())
            if not files:
                refused.append(f"{path}: expected a folder with audio or mels ({' '.join(suffixes)}); found none")
            jobs.extend(Job(f, (folder / f.relative_to(path)).with_suffix(".wav")) for f in files)
        elif not path.exists():
            refused.append(f"{path}: no such file or folder")
        elif path.suffix.lower() not in suffixes:
            refused.append(f"{path}: expected audio or a mel ({' '.join(suffixes)}); got {path.suffix or 'no suffix'}")
        else:
            jobs.append(Job(path, folder / (path.stem + ".wav")))
    return jobs, refused
