"""Inspect many files in processes of their own: a decoder that crashes costs its file and not the run.

Python's own pools answer the death of a process by failing every job that is left, or by waiting forever. Here each
worker answers file by file, so it is known which one it died of, and another takes its place.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from diffwave.corpus.inspection import CRASHED, Inspection, inspect

_MOST_IN_HAND = 16  # files
# Not fork: a child of a process with threads may wait forever for a lock that nobody holds.
_SPAWN = multiprocessing.get_context("spawn")


def inspect_all(
    paths: Sequence[Path], jobs: int, look: Callable[[Path], Inspection] = inspect
) -> Generator[tuple[Path, Inspection], None, None]:
    """Inspect files in ``jobs`` processes; results come as they are found, in any order.

    Args:
        paths: of the files.
        jobs: processes, at least 1.
        look: what to do with a file, a function that a process can import.

    Raises:
        RuntimeError: if a worker ends before it has started.
    """
    left = deque(paths)
    workers: dict[Connection, _Worker] = {}
    try:
        for _ in range(min(jobs, len(paths))):
            _add(workers, look)
        while workers:
            for connection in wait(list(workers)):
                assert isinstance(connection, Connection)
                worker = workers[connection]
                result = worker.result()
                if not worker.is_alive:
                    left.extendleft(reversed(worker.paths))
                    workers.pop(connection).stop()
                    _add(workers, look)  # if nothing is left, it is sent home when it says that it is ready
                elif not worker.paths and left:
                    # Several, so that none waits for this process; few towards the end, so that all end together.
                    count = max(1, min(_MOST_IN_HAND, len(left) // (4 * jobs)))
                    worker.give([left.popleft() for _ in range(count)])
                elif not worker.paths:
                    workers.pop(connection).stop()
                if result is not None:
                    yield result
    finally:
        for worker in workers.values():
            worker.stop()


def _add(workers: dict[Connection, _Worker], look: Callable[[Path], Inspection]) -> None:
    worker = _Worker(look)
    workers[worker.connection] = worker


class _Worker:
    """A process and the files that it has in hand, of which it does the first."""

    def __init__(self, look: Callable[[Path], Inspection]) -> None:
        self.connection, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_work, args=(theirs, look), daemon=True)
        self.paths: deque[Path] = deque()
        self.is_alive = True
        _start(self.process)
        theirs.close()  # else the end of the process would not end the connection

    def give(self, paths: list[Path]) -> None:
        """Hand over files; a process that is gone is noticed when its result is read."""
        self.paths.extend(paths)
        with contextlib.suppress(OSError):
            self.connection.send(paths)

    def result(self) -> tuple[Path, Inspection] | None:
        """The first file in hand and what was found; None if the process only says that it is ready."""
        try:
            found: Inspection | None = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            self.is_alive = False
            if not self.paths:
                raise RuntimeError(f"a worker ended with code {self.process.exitcode} before its first file") from None
            found = Inspection(CRASHED, f"the process that decoded it ended with code {self.process.exitcode}")
        return None if found is None else (self.paths.popleft(), found)

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.connection.close()
        self.process.kill()
        self.process.join()


def _start(process: multiprocessing.process.BaseProcess) -> None:
    """Start a process that Ctrl-C does not reach: the terminal sends it to all, and one is to answer."""
    if threading.current_thread() is not threading.main_thread():
        process.start()
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)


def _work(connection: Connection, look: Callable[[Path], Inspection]) -> None:
    """What a worker does until nobody is there to ask."""
    try:
        connection.send(None)
        while True:
            for path in connection.recv():
                connection.send(look(path))
    except (EOFError, OSError):
        return
