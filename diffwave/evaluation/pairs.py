"""Which estimate belongs to which reference, whose voice it is, and what is recorded beside it."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffwave.audio.file import AUDIO_SUFFIXES
from diffwave.errors import UserError
from diffwave.evaluation.names import match_names
from diffwave.evaluation.record import read_record

# LibriSpeech: speaker-chapter-utterance; VCTK: p225_001; LibriTTS and MLS: speaker_chapter_...
SPEAKER = r"^(\d+)-\d+-\d+|^([ps]\d+)_|^(?:[a-z]{2}_[a-z]{2}_)?(\d+)_\d+_\d+"


class EvaluationError(UserError, ValueError):
    """What the user asked for cannot be evaluated; the message says what was expected."""


@dataclass(frozen=True)
class Pair:
    """A row of the results before it is scored.

    Args:
        system: name of what made the estimate.
        utterance: relative path of the reference, without suffix.
        speaker: whose voice it is; the utterance itself where the name does not tell.
        reference, estimate: the files; an estimate that is missing is named as it was expected.
        recorded: real-time factor and steps, as far as they are known.
    """

    system: str
    utterance: str
    speaker: str
    reference: Path
    estimate: Path
    recorded: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class System:
    """A folder of estimates.

    Args:
        name: in tables.
        folder: of the audio.
        pairs: one for each reference.
        unmatched: estimates without a reference, relative to the folder.
        origin: what the record says of how the outputs were made: the values that all of them share.
    """

    name: str
    folder: Path
    pairs: tuple[Pair, ...]
    unmatched: tuple[str, ...]
    origin: dict[str, Any]


def stamp(pair: Pair) -> str:
    """Sizes and times of modification of a pair's files, to notice that one was replaced."""

    def of(path: Path) -> str:
        try:
            status = path.stat()
        except OSError:
            return "missing"
        return f"{status.st_size}@{status.st_mtime_ns}"

    return f"{of(pair.reference)} {of(pair.estimate)}"


def match(
    reference: Path, estimates: dict[str, Path], speaker: str = SPEAKER, common: bool = False, skip: Path | None = None
) -> list[System]:
    """Pair every reference with the estimate of the same relative path, suffix aside.

    Where no relative path fits, file names do, if each is there once: ``LibriSpeech/test-clean/61/70968/x.flac``
    against ``out/x.wav``.

    Args:
        reference: folder of recordings.
        estimates: folder of each system.
        speaker: regular expression whose first matching group is the speaker in a file's name.
        common: leave out references that some system has no estimate of.
        skip: a folder that is not looked into.

    Raises:
        EvaluationError: if a folder is missing or empty, a name is there twice, or nothing matches.
    """
    pattern = _compile(speaker)
    recordings = audio_files(reference, "--reference", skip)
    found = {name: _by_reference(recordings, folder, name, skip) for name, folder in estimates.items()}
    if common:
        everywhere = set.intersection(*(set(files) for files, _ in found.values()))
        recordings = {key: path for key, path in recordings.items() if key in everywhere}
        if not recordings:
            raise EvaluationError("--common: expected utterances that every system has; there are none")
    return [_system(name, folder, recordings, *found[name], pattern=pattern) for name, folder in estimates.items()]


def audio_files(folder: Path, option: str, skip: Path | None = None, instead: tuple[str, ...] = ()) -> dict[str, Path]:
    """Audio files below a folder, by relative path without suffix, sorted.

    Args:
        folder: to look in.
        option: of the command line, for messages.
        skip: a folder that is left out, such as a report with audio of its own.
        instead: further suffixes, of files that are taken where no audio has their name.

    Raises:
        EvaluationError: if there are none, or two of a kind differ only in their suffix.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{option} {folder}: expected a folder; there is none")
    audio: dict[str, Path] = {}
    others: dict[str, Path] = {}
    seen = {os.path.realpath(path) for path in (folder, skip) if path}
    for here, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # A link back to a folder above would never end.
        real = {name: os.path.realpath(Path(here) / name) for name in folders}
        folders[:] = [name for name in folders if real[name] not in seen]
        seen.update(real.values())
        for name in sorted(names):
            path = Path(here) / name
            if path.suffix.lower() not in (*AUDIO_SUFFIXES, *instead) or name.startswith("."):
                continue
            files = others if path.suffix.lower() in instead else audio
            key = path.relative_to(folder).with_suffix("").as_posix()
            if key in files:
                raise EvaluationError(f"{option} {folder}: expected one file called {key}; got {files[key]} and {path}")
            files[key] = path
    files = {**others, **audio}
    if not files:
        suffixes = ", ".join((*AUDIO_SUFFIXES, *instead))
        raise EvaluationError(f"{option} {folder}: expected audio files ({suffixes}); there are none")
    return dict(sorted(files.items()))


def _by_reference(
    recordings: dict[str, Path], folder: Path, name: str, skip: Path | None
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Estimates by the key of their reference, and the keys of those that have none."""
    files = audio_files(folder, f"--estimate {name}", skip)
    keys = match_names(recordings, files)
    matched = {keys[key]: path for key, path in files.items() if key in keys}
    if not matched:
        some = next(iter(recordings)), next(iter(files))
        raise EvaluationError(
            f"--estimate {name}={folder}: expected files named like the references; got none (a reference is called "
            f"{some[0]}, an estimate {some[1]})"
        )
    return matched, tuple(key for key in files if key not in keys)


def _system(
    name: str,
    folder: Path,
    recordings: dict[str, Path],
    files: dict[str, Path],
    unmatched: tuple[str, ...],
    pattern: re.Pattern[str],
) -> System:
    record = read_record(folder)
    pairs = []
    for key, path in recordings.items():
        estimate = files.get(key, folder / f"{key}.wav")
        row = record.get(os.path.relpath(estimate, folder).replace(os.sep, "/"), {})
        pairs.append(Pair(name, key, _speaker(pattern, key), path, estimate, _figures(row)))
    estimates = set(files.values())
    used = [record[key] for key in record if (folder / key) in estimates]
    return System(name, folder, tuple(pairs), unmatched, _shared(used))


def _figures(row: dict[str, Any]) -> dict[str, float]:
    """Numbers of a record that are columns of the results."""
    names = ("real_time_factor", "steps")
    numbers = {name: float(row[name]) for name in names if isinstance(row.get(name), int | float)}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _shared(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Settings that all outputs have in common."""
    own = {"input", "output", "audio_seconds", "wall_seconds", "real_time_factor", "notes"}
    first = rows[0] if rows else {}
    return {key: first[key] for key in sorted(set(first) - own) if all(row.get(key) == first[key] for row in rows)}


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise EvaluationError(f"--speaker: expected a regular expression; got {pattern!r} ({error})") from None
    if not compiled.groups:
        raise EvaluationError(f"--speaker: expected a group in brackets that is the speaker; got {pattern!r}")
    return compiled


def _speaker(pattern: re.Pattern[str], utterance: str) -> str:
    """The speaker in a file's name; where it does not tell, every utterance stands for itself."""
    found = pattern.search(utterance.rsplit("/", 1)[-1])
    groups = [group for group in found.groups() if group] if found else []
    return groups[0] if groups else utterance
