"""Workers of this machine: in processes of their own, or in this one.

Who dies is replaced, and its utterance given to another; an utterance that ends every process that takes it up fails
alone in the end (:class:`~diffwave.bulk.worker.CorpusSpeaker` counts).
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

from diffwave.bulk.output_names import BulkError
from diffwave.bulk.records import Record
from diffwave.bulk.utterances import CorpusJob
from diffwave.bulk.worker import CorpusSpeaker, Setup

# Not fork: a child of a process with threads may wait forever for a lock that nobody holds.
_SPAWN = multiprocessing.get_context("spawn")
_FAILED_STARTS = 3
Task = tuple[CorpusJob, Record | None]


class Here:
    """The work is done in this process: for debugging, without protection."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._speaker: CorpusSpeaker | None = None

    def settings(self) -> dict[str, Any]:
        """Those that outputs will be made with."""
        self._speaker = CorpusSpeaker(self.setup)
        return self._speaker.settings

    def run(self, tasks: Iterable[Task]) -> Iterator[Record]:
        """Records as they are made."""
        assert self._speaker is not None
        for task in tasks:
            yield self._speaker(*task)

    def close(self) -> None:
        """End what was started."""
        if self._speaker is not None:
            self._speaker.close()


class Processes:
    """Processes of this machine.

    Args:
        setup: for all of them.
        count: how many; as many as there are GPUs, or cores without a GPU, if not given. More than there are GPUs share
            them.
    """

    def __init__(self, setup: Setup, count: int | None) -> None:
        self.setup, self.count, self.gpus = setup, count, 0
        self._workers: dict[Connection, _Worker] = {}
        self._left: deque[Task] = deque()
        self._expected: dict[str, Any] | None = None
        self._failed_starts = self._started = 0
        self._running = False

    def settings(self) -> dict[str, Any]:
        """Those that outputs will be made with: the first worker's.

        Raises:
            BulkError: if it cannot work with what was asked for.
        """
        self._add()
        while self._expected is None:
            [worker] = self._workers.values()
            self._hear(worker)
        return self._expected

    def run(self, tasks: Iterable[Task]) -> Iterator[Record]:
        """Records as they are made.

        Raises:
            BulkError: if workers cannot be started.
        """
        self._left, self._running = deque(tasks), True
        for _ in range(min(self.count or self.gpus or _cores(), len(self._left)) - 1):
            self._add()
        for worker in list(self._workers.values()):
            self._next(worker)
        while self._workers:
            for connection in wait(list(self._workers)):
                assert isinstance(connection, Connection)
                record = self._hear(self._workers[connection])
                if record is not None:
                    yield record

    def close(self) -> None:
        """End every process, whatever it does."""
        for worker in self._workers.values():
            worker.stop()
        self._workers = {}

    def _add(self) -> None:
        worker = _Worker(self._setup_of(self._started), self._expected)
        self._started += 1
        self._workers[worker.connection] = worker

    def _setup_of(self, number: int) -> Setup:
        """Workers take turns with the GPUs, unless one is named."""
        request = self.setup.request
        if self.gpus < 2 or request.device not in ("auto", "cuda"):
            return self.setup
        return replace(self.setup, request=replace(request, device=f"cuda:{number % self.gpus}"))

    def _hear(self, worker: _Worker) -> Record | None:
        """What a worker says: that it is ready, that it cannot work, or a record."""
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._replace(worker)
            return None
        if "fatal" in message:
            raise BulkError(message["fatal"])
        if "ready" in message:
            self._failed_starts, worker.ready = 0, True
            self._expected, self.gpus = self._expected or message["ready"], message["gpus"]
            if self._running:
                self._next(worker)
            return None
        worker.task = None
        self._next(worker)
        record: Record = message["record"]
        return record

    def _next(self, worker: _Worker) -> None:
        """Give a worker that waits its next utterance, or let it go if there is none."""
        if not worker.ready or worker.task is not None:
            return
        if self._left:
            worker.give(self._left.popleft())
        else:
            self._workers.pop(worker.connection).stop(gently=True)

    def _replace(self, worker: _Worker) -> None:
        self._workers.pop(worker.connection).stop()
        if worker.task is not None:
            self._left.appendleft(worker.task)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise BulkError(f"expected worker processes; they end with code {worker.process.exitcode} at once")
        if self._left or self._expected is None:
            self._add()


class _Worker:
    """A process and the utterance it has in hand."""

    def __init__(self, setup: Setup, expected: dict[str, Any] | None) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_work, args=(theirs, setup, expected), daemon=True)
        self.task: Task | None = None
        self.ready = False
        _start(self.process)
        theirs.close()  # else the end of the process would not end the connection

    def give(self, task: Task) -> None:
        """Hand over an utterance; a process that is gone is noticed when its answer is read."""
        self.task = task
        with contextlib.suppress(OSError):
            self.connection.send(task)

    def stop(self, gently: bool = False) -> None:
        """End the process, whatever it does; gently, it ends what it has started itself."""
        self.connection.close()
        self.process.join(5 if gently else 0)
        self.process.kill()
        self.process.join()


def _start(process: multiprocessing.process.BaseProcess) -> None:
    """Start a process that Ctrl-C does not reach: the terminal sends it to all, and one is to answer."""
    # What a process of one thread computes with, read when its libraries are loaded.
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    os.environ.update(dict.fromkeys(before, "1"))
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        process.start()
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(connection: Connection, setup: Setup, expected: dict[str, Any] | None) -> None:
    """What a worker does until nobody is there to ask."""
    end_with_parent()
    try:
        try:
            speaker = CorpusSpeaker(setup, expected)
        except (ValueError, ImportError, OSError, MemoryError) as error:
            connection.send({"fatal": str(error)})
            return
        connection.send({"ready": speaker.settings, "gpus": _gpus(speaker)})
        with contextlib.closing(speaker):
            while True:
                job, record = connection.recv()
                connection.send({"record": speaker(job, record)})
    except (EOFError, OSError):
        return


def end_with_parent() -> None:
    """Ask the system to end this process when its parent ends, also in the middle of an utterance (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _gpus(speaker: CorpusSpeaker) -> int:
    import torch

    return torch.cuda.device_count() if speaker.vocoder.device.type == "cuda" else 0


def _cores() -> int:
    # Not every system tells which cores a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
