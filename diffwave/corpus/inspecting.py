"""Inspect many files in processes of their own: a decoder that crashes costs its file and not the run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path

from diffwave.corpus.inspection import CRASHED, Inspection, inspect
from diffwave.processes.messages import Lost, Said, Work
from diffwave.processes.pool import StartError, SupervisedPool

_MOST_IN_HAND = 16  # files
_Files = deque[Path]


def inspect_all(
    paths: Sequence[Path], jobs: int, look: Callable[[Path], Inspection] = inspect
) -> Generator[tuple[Path, Inspection], None, None]:
    """Inspect files in ``jobs`` processes; results come as they are found, in any order.

    Args:
        paths: of the files.
        jobs: processes, at least 1.
        look: what to do with a file, a function that a process can import.

    Raises:
        RuntimeError: if workers end before they have started.
    """
    with SupervisedPool[_Files](lambda: partial(_begin, look)) as pool:
        try:
            for files, event in pool.run(_in_hand(deque(paths), jobs), jobs):
                if isinstance(event, Said):
                    yield files.popleft(), event.value
                elif isinstance(event, Lost) and files:
                    crashed = files.popleft()
                    if files:
                        pool.again(files)
                    yield crashed, Inspection(CRASHED, f"the process that decoded it ended with code {event.code}")
        except StartError as error:
            raise RuntimeError(f"a worker ended with code {error.lost.code} before its first file") from None


def _in_hand(left: _Files, jobs: int) -> Iterator[_Files]:
    """Several files for a process, so that none waits for this one; few towards the end, so that all end together."""
    while left:
        count = max(1, min(_MOST_IN_HAND, len(left) // (4 * jobs)))
        yield deque(left.popleft() for _ in range(count))


def _begin(look: Callable[[Path], Inspection]) -> Work[_Files]:
    def work(files: _Files, tell: Callable[[Inspection], None]) -> None:
        for path in files:
            tell(look(path))

    return work
