"""Requests that wait for synthesis, and which of them go together."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from torch import Tensor

from diffwave.config import SynthesisOptions
from diffwave.serving.limits import Limits, RefusedError
from diffwave.vocoder import Vocoder

# Padding makes a batch as expensive as its longest utterance times its size.
_MOST_STRETCH = 2.0


@dataclass(eq=False)
class WaitingRequest:
    """An utterance to synthesize.

    Args:
        mel: ``[M, F]``.
        seconds: of audio.
        options: of synthesis; those of one batch are equal.
        vocoder: of the mel's convention, the same for one batch; the service's own if None.
        outcome: becomes the waveform ``[F * hop_length]``; cancelled if nobody waits for it any more.
        abandoned: is set when nobody waits any more although the work has begun.
        since: when it came, on the clock of ``time.monotonic``.
    """

    mel: Tensor
    seconds: float
    options: SynthesisOptions
    vocoder: Vocoder | None = None
    outcome: Future[Tensor] = field(default_factory=Future)
    abandoned: threading.Event = field(default_factory=threading.Event)
    since: float = field(default_factory=time.monotonic)

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        self.outcome.cancel()
        self.abandoned.set()


class RequestQueue:
    """Jobs in the order of their coming, up to a number of them.

    Args:
        limits: of the service.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._changed = threading.Condition()
        self._jobs: list[WaitingRequest] = []
        self._closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: WaitingRequest, retry_after: int) -> None:
        """Add a job.

        Args:
            job: to add.
            retry_after: what to tell the client if there is no room.

        Raises:
            RefusedError: if the queue is full or closed.
        """
        with self._changed:
            if self._closed:
                raise RefusedError(503, "the service is shutting down", retry_after)
            self._jobs = [waiting for waiting in self._jobs if not waiting.outcome.cancelled()]
            if len(self._jobs) >= self._limits.queue:
                raise RefusedError(503, f"{len(self._jobs)} requests wait already; try again later", retry_after)
            self._jobs.append(job)
            self._changed.notify_all()

    def close(self) -> None:
        """Take no more jobs; those that wait are still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait(self, long: bool) -> bool:
        """Wait until a job of that kind is there; False if none will come any more."""
        with self._changed:
            while not (found := self._of_kind(long)) and not self._closed:
                self._changed.wait()
            return bool(found)

    def gather(self, long: bool) -> None:
        """Give others a few milliseconds to come along with a first job that has just come."""
        with self._changed:
            while waiting := self._of_kind(long):
                left = waiting[0].since + self._limits.batch_wait_seconds - time.monotonic()
                if left <= 0 or self._closed:
                    return
                self._changed.wait(left)

    def take(self, long: bool) -> list[WaitingRequest]:
        """The oldest job of a kind and those that can be synthesized with it; long ones go alone.

        Returns:
            Jobs that have been set running; none if those that waited are cancelled.
        """
        with self._changed:
            waiting = self._of_kind(long)
            batch = waiting[:1] if long else together(waiting, self._limits.batch_seconds)
            self._jobs = [job for job in self._jobs if job not in batch]
        return [job for job in batch if job.outcome.set_running_or_notify_cancel()]

    def _of_kind(self, long: bool) -> list[WaitingRequest]:
        threshold = self._limits.long_seconds
        return [job for job in self._jobs if (job.seconds > threshold) == long and not job.outcome.cancelled()]


def together(jobs: list[WaitingRequest], batch_seconds: float) -> list[WaitingRequest]:
    """The first job and those after it that go well with it.

    Args:
        jobs: in the order of their coming.
        batch_seconds: most audio in the batch, every utterance counted as the longest one.
    """
    batch: list[WaitingRequest] = []
    for job in jobs:
        if batch and (job.options != batch[0].options or job.vocoder is not batch[0].vocoder):
            continue
        lengths = [member.seconds for member in [*batch, job]]
        if batch and max(lengths) > _MOST_STRETCH * min(lengths):
            continue
        if batch and max(lengths) * len(lengths) > batch_seconds:
            continue
        batch.append(job)
    return batch
