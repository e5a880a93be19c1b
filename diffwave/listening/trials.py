"""From prepared utterances to trials: which stimuli meet on a page, under which opaque identifiers."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

from diffwave.listening.design import PAIR_METHODS, SYSTEM, ListeningTest, Stimulus, Trial
from diffwave.listening.stimuli import Prepared, Sound

SYSTEM_PAIRS, REFERENCE_PAIRS = "systems", "reference"
PAIRS = (SYSTEM_PAIRS, REFERENCE_PAIRS)
# The reference that a mushra page plays openly has another identifier than the hidden one.
_OPEN, _HIDDEN = "open", "hidden"
_IDENTIFIER_LENGTH = 8


@dataclass(frozen=True)
class Design:
    """What the trials of a test are made of.

    Args:
        method: one of ``METHODS``.
        pairs: for pair methods, ``systems`` or ``reference``.
        secret: what identifiers are drawn from; who does not know it cannot find out what they stand for.
    """

    method: str
    pairs: str
    secret: bytes


@dataclass(frozen=True)
class Trials:
    """The outcome of :func:`arrange`: as in ``ListeningTest``, and the sound of each stimulus."""

    trials: tuple[Trial, ...]
    training: tuple[Trial, ...]
    volume: str
    extra: tuple[str, ...]
    stimuli: tuple[Stimulus, ...]
    sounds: dict[str, Sound] = field(repr=False)


def make_secret(seed: int, parts: Sequence[bytes]) -> bytes:
    """Mix the seed with what listeners do not have.

    The program is public and seeds are small numbers: identifiers drawn from the seed alone could be computed by
    anyone who guesses it.

    Args:
        seed: of the export.
        parts: contents and names of the source files.
    """
    digest = hashlib.sha256(f"diffwave listening test {seed}".encode())
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.digest()


def public_hash(secret: bytes, purpose: str) -> str:
    """Sixteen hexadecimal digits that depend on the secret and do not tell it."""
    return hashlib.sha256(secret + purpose.encode()).hexdigest()[:16]


class _Cast:
    """Gives identifiers to sounds when they are first used, and to trials."""

    def __init__(self, secret: bytes) -> None:
        self._random = random.Random(secret)
        self._drawn: set[str] = set()
        self._stimuli: dict[tuple[str, str, str], Stimulus] = {}
        self.sounds: dict[str, Sound] = {}

    def identifier(self) -> str:
        """A new one: a letter first, since a leading digit would be read as a number somewhere."""
        while True:
            rest = self._random.choices(string.ascii_lowercase + string.digits, k=_IDENTIFIER_LENGTH - 1)
            drawn = self._random.choice(string.ascii_lowercase) + "".join(rest)
            if drawn not in self._drawn:
                self._drawn.add(drawn)
                return drawn

    def stimulus(self, prepared: Prepared, sound: Sound, copy: str = _HIDDEN) -> str:
        """Identifier of a sound; the same at every call."""
        place = (prepared.item.name, sound.name, copy)
        if place not in self._stimuli:
            name = self.identifier()
            self._stimuli[place] = _describe(name, prepared.item.name, sound)
            self.sounds[name] = sound
        return self._stimuli[place].stimulus

    def stimuli(self) -> tuple[Stimulus, ...]:
        """All that were used, in the order of their identifiers, which tells nothing."""
        return tuple(sorted(self._stimuli.values(), key=lambda stimulus: stimulus.stimulus))


def _describe(name: str, item: str, sound: Sound) -> Stimulus:
    return Stimulus(
        stimulus=name,
        item=item,
        system=sound.name,
        kind=sound.kind,
        source=sound.source,
        sha256=sound.sha256,
        seconds=sound.seconds,
        gain_db=round(sound.gain_db, 4),
        lufs_before=round(sound.lufs_before, 4),
        peak_dbfs=round(sound.peak_dbfs, 4),
    )


def arrange(design: Design, items: list[Prepared], training: Prepared, extra: list[Prepared]) -> Trials:
    """Make the trials of a test.

    Args:
        design: method, pairs and secret.
        items: utterances of the test.
        training: utterance of the training trials; may be one of ``items``.
        extra: utterances whose stimuli are in no trial but get identifiers.
    """
    cast = _Cast(design.secret)
    trials = [trial for prepared in items for trial in _item_trials(design, cast, prepared)]
    training_trials = _item_trials(design, cast, training)
    copy = _OPEN if design.method == "mushra" else _HIDDEN
    volume = cast.stimulus(training, training.sounds[0], copy)
    others = [cast.stimulus(prepared, sound) for prepared in extra for sound in prepared.sounds]

    def mixed(made: list[Trial]) -> tuple[Trial, ...]:
        return tuple(sorted(made, key=lambda trial: trial.trial))

    return Trials(mixed(trials), mixed(training_trials), volume, tuple(sorted(others)), cast.stimuli(), cast.sounds)


def _item_trials(design: Design, cast: _Cast, prepared: Prepared) -> list[Trial]:
    if design.method in PAIR_METHODS:
        groups = [[first, second] for first, second in _pairs(design.pairs, prepared.sounds)]
    elif design.method == "acr":
        groups = [[sound] for sound in prepared.sounds]
    else:
        groups = [list(prepared.sounds)]
    return [_trial(design, cast, prepared, group) for group in groups]


def _trial(design: Design, cast: _Cast, prepared: Prepared, sounds: list[Sound]) -> Trial:
    opened = cast.stimulus(prepared, prepared.sounds[0], _OPEN) if design.method == "mushra" else ""
    # Sorted: the order of the identifiers is random, that of the sounds is not.
    stimuli = tuple(sorted(cast.stimulus(prepared, sound) for sound in sounds))
    return Trial(cast.identifier(), prepared.item.name, opened, stimuli)


def _pairs(pairs: str, sounds: tuple[Sound, ...]) -> list[tuple[Sound, Sound]]:
    systems = [sound for sound in sounds if sound.kind == SYSTEM]
    if pairs == REFERENCE_PAIRS:
        return [(sounds[0], system) for system in systems]
    return list(combinations(systems, 2))


def blinded(test: ListeningTest) -> ListeningTest:
    """The test without anything that listeners must not know: what a sheet may be made of."""
    audible = {test.volume}.union(*({t.reference, *t.stimuli} for t in (*test.trials, *test.training)))
    stimuli = [
        Stimulus(s.stimulus, "", "", "", "", "", s.seconds, 0.0, 0.0, 0.0)
        for s in test.stimuli
        if s.stimulus in audible
    ]

    def without_item(trials: tuple[Trial, ...]) -> tuple[Trial, ...]:
        return tuple(dataclasses.replace(trial, item="") for trial in trials)

    return dataclasses.replace(
        test,
        seed=0,
        trials=without_item(test.trials),
        training=without_item(test.training),
        stimuli=tuple(stimuli),
    )
