"""What a pool and its workers tell each other, and what a pool tells of a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

J = TypeVar("J")  # a job
# What a worker does: it is given a job, and a function that tells something of it before its end; returns the result.
Work = Callable[[J, Callable[[Any], None]], Any]


class Stage(Enum):
    """How far a worker is before its first job."""

    AWAKE = auto()
    READY = auto()


class Refusal(Exception):  # noqa: N818 (not a mistake of the worker: it cannot do what is asked for)
    """Raised by what prepares a worker, and then in the process that runs the pool: no other worker could do better."""


@dataclass(frozen=True)
class Said:
    """What a worker tells of a job that it goes on with."""

    value: Any


@dataclass(frozen=True)
class Done:
    """A job is done, with this result."""

    value: Any


@dataclass(frozen=True)
class Lost:
    """The process that worked on a job has ended, or was given up.

    Args:
        code: exit code of the process, negative for a signal.
        reason: what the process did, in words: ``was ended by SIGSEGV``.
    """

    code: int
    reason: str


Event = Said | Done | Lost
