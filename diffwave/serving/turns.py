"""Who may compute: one at a time, in the order of asking."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock that is handed on in the order of asking.

    ``threading.Lock`` may be taken by the same thread again and again while others wait. Here whoever releases it goes
    to the end of the line, so that a long utterance and many short ones take turns.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._held = False

    def acquire(self) -> None:
        """Wait for a turn."""
        with self._lock:
            if not self._held:
                self._held = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def release(self) -> None:
        """Give the turn to who has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._held = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a turn."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    @contextmanager
    def given_way(self) -> Iterator[None]:
        """Let others have the turn that we hold, and take one again at the end."""
        self.release()
        try:
            yield
        finally:
            self.acquire()
