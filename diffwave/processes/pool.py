"""A supervised pool of processes: a job that crashes, hangs or raises costs its own process and nothing else.

C code can end its process or never return. Python's own pools answer the first by failing every job that is left, or by
waiting forever. Here each worker has one job at a time, so it is known which one it died of, and another takes its
place. Workers end with the process that started them, however that ends.

They are started as programs and not as copies: a copy of a process with threads may wait forever for a lock that nobody
holds, and `multiprocessing` would run the user's script again in each of them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Generic

from diffwave.processes.messages import Done, Event, J, Lost, Refusal, Said, Stage, Work

_FAILED_STARTS = 3
_PATIENCE = 5.0  # s, for who ends by itself
# A process of the pool computes with one thread. Read when libraries are loaded.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class StartError(RuntimeError):
    """Workers end before they could begin, several times in a row.

    Args:
        lost: how the last one ended.
    """

    def __init__(self, lost: Lost) -> None:
        super().__init__(f"expected worker processes; {sys.executable} {lost.reason}")
        self.lost = lost


class SupervisedPool(Generic[J]):
    """Workers that are started when there is something to do, and live on from one run to the next.

    Args:
        begin: called here for every worker that has started; returns a function without arguments, or a
            ``functools.partial``, that the worker imports and calls to prepare itself. It returns what is done with a
            job, or raises :class:`~diffwave.processes.messages.Refusal`.
        timeout: seconds without a word after which a worker is given up, if there is a limit.
        is_quiet: what workers and their libraries print goes nowhere, instead of where this process prints.
    """

    def __init__(
        self, begin: Callable[[], Callable[[], Work[J]]], timeout: float | None = None, is_quiet: bool = False
    ) -> None:
        self.begin, self.timeout, self.is_quiet = begin, timeout, is_quiet
        self._workers: list[_Worker] = []
        self._waiting: deque[J] = deque()
        self._jobs: Iterator[J] = iter(())
        self._count = self._failed_starts = 0

    def __enter__(self) -> SupervisedPool[J]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, jobs: Iterable[J], count: int) -> Iterator[tuple[J, Event]]:
        """Have jobs done; a pool whose run was not taken to its end can only be closed.

        Args:
            jobs: which are taken one by one, as workers fall idle.
            count: of processes that there may be, at least 1; never more than jobs.

        Yields:
            A job and what became of it, as it comes: any number of :class:`Said`, and :class:`Done` or :class:`Lost`
            at the end. Who takes a loss may hand over what is left of the job by :meth:`again` before the next is
            taken.

        Raises:
            Refusal: if a worker cannot do what is asked for.
            StartError: if workers cannot be started.
        """
        self._jobs, self._count = iter(jobs), count
        for worker in [worker for worker in self._workers if worker.connection.poll()]:
            yield from self._lose(worker)  # it had no job, so it has ended since the last run
        while self._hand_out():
            yield from self._listen()

    def again(self, job: J) -> None:
        """Have a job done before all that wait."""
        self._waiting.appendleft(job)

    def close(self) -> None:
        """End every process: those that are at work at once, the others by themselves."""
        for worker in self._workers:
            worker.connection.close()
            if worker.is_awaited():
                worker.process.kill()
        deadline = time.monotonic() + _PATIENCE
        while self._workers:
            self._workers.pop().end(max(0.0, deadline - time.monotonic()))

    def _hand_out(self) -> bool:
        """Give idle workers their next jobs and start workers that are missing; whether there is something to do."""
        for worker in self._workers:
            if not worker.is_awaited() and self._has_waiting(1):
                worker.give(self._waiting.popleft())
        starting = sum(not worker.is_ready for worker in self._workers)
        while len(self._workers) < self._count and self._has_waiting(starting + 1):
            self._workers.append(_Worker(self.is_quiet))
            starting += 1
        return bool(self._waiting) or any(worker.jobs for worker in self._workers)

    def _has_waiting(self, count: int) -> bool:
        """Whether so many jobs wait, some of them taken for it if need be."""
        self._waiting.extend(itertools.islice(self._jobs, max(0, count - len(self._waiting))))
        return len(self._waiting) >= count

    def _listen(self) -> Iterator[tuple[J, Event]]:
        begun = time.monotonic()
        heard = wait([worker.connection for worker in self._workers], 1.0)
        # Only time spent here counts: not what the taker of the events needs, nor a pause of the whole program.
        waited = min(time.monotonic() - begun, 1.0)
        for worker in list(self._workers):
            worker.silent = 0.0 if worker.connection in heard else worker.silent + waited
            if worker.connection in heard:
                yield from self._hear(worker)
            elif self.timeout is not None and worker.is_awaited() and worker.silent > self.timeout:
                yield from self._lose(worker, f"gave no answer for {self.timeout:g} s")

    def _hear(self, worker: _Worker) -> Iterator[tuple[J, Event]]:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._lose(worker)
            return
        if isinstance(message, Refusal):
            raise message
        if message is Stage.AWAKE:
            worker.send(self.begin())  # not sooner: it may be more than a connection holds
        elif message is Stage.READY:
            worker.is_ready, self._failed_starts = True, 0
        elif isinstance(message, Said):
            yield worker.jobs[0], message
        elif isinstance(message, Done):
            job = worker.jobs.pop()
            self._hand_out()  # first, so that no worker waits for who takes the result
            yield job, message

    def _lose(self, worker: _Worker, reason: str = "") -> Iterator[tuple[J, Event]]:
        """Let go of a worker that died, or is given up for a reason."""
        self._workers.remove(worker)
        # Who closed its end is about to end by itself, and says how.
        code = worker.end(0.0 if reason else _PATIENCE)
        lost = Lost(code, reason or _describe(code))
        if not worker.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise StartError(lost)
        for job in worker.jobs:
            yield job, lost


class _Worker:
    """A process, and the job that it works on, if any."""

    def __init__(self, is_quiet: bool) -> None:
        self.jobs: list[Any] = []
        self.is_ready = False
        self.silent = 0.0  # s
        self.connection, theirs = Pipe()
        output = subprocess.DEVNULL if is_quiet else None
        # The worker imports what this process could, also from a checkout or a plug-in's folder.
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        # The terminal sends Ctrl-C to all, and one is to answer; a worker lets it in when it no longer minds.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "diffwave.processes.worker_process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | {"PYTHONPATH": paths} | dict.fromkeys(_THREADS, "1"),
                pass_fds=(theirs.fileno(),),
            )
        finally:
            theirs.close()  # else the end of the process would not end the connection
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def is_awaited(self) -> bool:
        """Whether it has something to say: that it is ready, or what became of its job."""
        return not self.is_ready or bool(self.jobs)

    def give(self, job: object) -> None:
        """Hand over a job."""
        self.silent = 0.0
        self.jobs.append(job)
        self.send(job)

    def send(self, message: object) -> None:
        """Tell something; a worker that is gone is noticed when it is listened to."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def end(self, patience: float) -> int:
        """End the process after some seconds, whatever it does, and return its exit code."""
        self.connection.close()
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def _describe(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
