"""How far a run has come: everything in its state that is not a weight."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from diffwave.corpus.manifest import Utterance
from diffwave.training.record.window import Window


@dataclass
class Progress:
    """How far a run has come.

    Args:
        iteration: optimiser steps done.
        crops: crops taken so far, over all processes; the number of the next one.
        seconds: of training, over all the times that the run was started.
        window: figures since the last line of the history.
        validation: figures of the last validation.
        best: figures of the best validation, with its iteration.
        outputs: figures of the last outputs, with their iteration.
        started_from: name of the checkpoint that the run began with, and its iterations; empty if with none.
    """

    iteration: int = 0
    crops: int = 0
    seconds: float = 0.0
    window: Window = field(default_factory=Window)
    validation: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    started_from: str = ""

    def as_state(self) -> dict[str, Any]:
        """As plain values, for the state of a run."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Progress:
        """Take up what :meth:`as_state` gave."""
        return cls(**{**state, "window": Window(**state["window"])})


def fingerprint(utterances: list[Utterance]) -> str:
    """Changes when names, lengths or order of the utterances do; where they lie does not matter."""
    digest = hashlib.sha256()
    for utterance in utterances:
        digest.update(f"{utterance.path.name}\0{utterance.samples}\0{utterance.speaker}\n".encode(errors="replace"))
    return digest.hexdigest()[:16]


def changed_settings(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Settings of a run that are no longer as they were, one line each; a run that was moved is the same run.

    >>> changed_settings({"train": {"seed": 1, "loss": "l1"}}, {"train": {"seed": 2, "loss": "l1", "more": 3}})
    ['train.seed was 1, is 2']
    """
    before, now = dict(_flat(old)), dict(_flat(new))
    changed = [key for key in now if key in before and before[key] != now[key] and key not in _NO_CHANGE]
    return [f"{key} was {before[key]!r}, is {now[key]!r}" for key in changed]


# A run that was moved is the same run; what it started from matters once.
_NO_CHANGE = ("run_dir", "train.start_from")


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
