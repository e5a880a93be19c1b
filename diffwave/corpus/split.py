"""Who is held out: training and validation that share no speaker.

Without a list, the validation speakers are those with the smallest hashes of ``(seed, speaker)``. So a speaker who
joins the corpus can push one out of validation, but as long as as many are held out nobody of the training speakers is
moved into it: what a model has heard stays on its side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from diffwave.config import ConfigError
from diffwave.corpus.folders import librispeech_speaker
from diffwave.corpus.manifest import Utterance

VALIDATION_SPEAKERS = 40
_MOST = 10  # at most one speaker in so many is held out, if nobody said how many
_HOLD_OUT = 20  # where speakers cannot divide it, one utterance in so many


@dataclass(frozen=True)
class Split:
    """Two lists without a common utterance.

    Args:
        training, validation: utterances, in the order in which they came.
        speakers: who is held out, sorted; empty if the corpus has a single speaker.
        notes: what a person should know, a sentence each.
    """

    training: list[Utterance]
    validation: list[Utterance]
    speakers: list[str]
    notes: list[str]


def split(utterances: list[Utterance], seed: int, count: int | None = None, listed: Collection[str] = ()) -> Split:
    """Divide by speaker.

    Args:
        utterances: of the training subsets.
        seed: of the choice.
        count: how many speakers to hold out; by default 40, at most a tenth of them, at least one.
        listed: exactly these speakers instead, as far as they are there.

    Raises:
        ConfigError: if nobody would be left on one of the sides.
    """
    speakers = {utterance.speaker for utterance in utterances}
    if listed:
        return _by_speakers(utterances, _of_list(speakers, listed), sorted(set(listed) - speakers))
    if len(speakers) > 1:
        return _by_speakers(utterances, choose_speakers(speakers, seed, count), [])
    if len(utterances) < 2:
        raise ConfigError(f"expected two utterances or more, to train on and to validate; got {len(utterances)}")
    return _by_utterances(utterances)


def by_speaker(utterances: list[Utterance], held_out: Collection[str]) -> tuple[list[Utterance], list[Utterance]]:
    """To train on and to validate on: who is held out speaks in the second alone."""
    training = [utterance for utterance in utterances if utterance.speaker not in held_out]
    return training, [utterance for utterance in utterances if utterance.speaker in held_out]


def one_in_twenty(utterances: list[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    """To train on and to validate on: the first of every twenty utterances is held out, with whatever repeats it."""
    validation = utterances[::_HOLD_OUT]
    paths = {utterance.path for utterance in validation}
    return [utterance for utterance in utterances if utterance.path not in paths], validation


def choose_speakers(speakers: Collection[str], seed: int, count: int | None = None) -> set[str]:
    """The speakers to hold out; a function of the set, not of its order.

    Args:
        speakers: all of them, two or more.
        seed: of the choice.
        count: how many; by default 40, at most a tenth of them, at least one.

    Raises:
        ConfigError: if ``count`` leaves nobody to train on.
    """
    if count is None:
        count = max(1, min(VALIDATION_SPEAKERS, len(speakers) // _MOST))
    if not 1 <= count < len(speakers):
        raise ConfigError(f"--validation-speakers: expected 1 to {len(speakers) - 1}, of {len(speakers)}; got {count}")
    return set(sorted(speakers, key=lambda speaker: rank(seed, speaker))[:count])


def rank(seed: int, name: str) -> str:
    """A fixed place in a random order: the hash of seed and name."""
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).hexdigest()


def read_list(path: Path) -> tuple[list[str], list[str]]:
    """Speakers of a list, sorted, and the paths in it.

    Args:
        path: of a text with a speaker on each line, or a path such as ``train-clean-100/103/1240/103-1240-0000.flac``
            whose speaker is meant. Empty lines, and what follows a ``#``, are ignored.

    Raises:
        ConfigError: if it cannot be read or names nobody.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"--validation-list {path}: expected a text with a speaker on each line; {reason}") from None
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    paths = [line for line in lines if "/" in line]
    speakers = {_speaker(line) for line in lines if line}
    if not speakers:
        raise ConfigError(f"--validation-list {path}: expected a speaker on each line; the list is empty")
    return sorted(speakers), paths


def _speaker(line: str) -> str:
    path = Path(line)
    return line if "/" not in line else librispeech_speaker(path.stem) or path.parent.name


def _of_list(speakers: set[str], listed: Collection[str]) -> set[str]:
    """The listed speakers that are there; raises ConfigError."""
    there = speakers & set(listed)
    if not there:
        raise ConfigError(f"--validation-list: expected speakers of the corpus; none of {len(set(listed))} is there")
    if there == speakers:
        raise ConfigError(f"--validation-list: expected somebody to train on; all {len(there)} speakers are held out")
    return there


def _by_speakers(utterances: list[Utterance], held_out: set[str], absent: list[str]) -> Split:
    some = f"{', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''}"
    notes = [f"{len(absent)} listed speakers are not in the corpus: {some}"] if absent else []
    return Split(*by_speaker(utterances, held_out), sorted(held_out), notes)


def _by_utterances(utterances: list[Utterance]) -> Split:
    """Of a single speaker."""
    note = (
        f"a single speaker ({utterances[0].speaker}): one utterance in {_HOLD_OUT} is held out, so validation does not "
        "tell how the model does with other voices"
    )
    return Split(*one_in_twenty(utterances), [], [note])
