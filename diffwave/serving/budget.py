"""Bytes that all requests in flight hold together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from diffwave.serving.limits import RefusedError


class Budget:
    """A bound on memory that requests share.

    Args:
        total: bytes.

    >>> budget = Budget(100)
    >>> with budget.allowance() as allowance:
    ...     allowance.take(60)
    ...     budget.used
    60
    >>> budget.used
    0
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._lock = threading.Lock()
        self.used = 0

    @contextmanager
    def allowance(self) -> Iterator[Allowance]:
        """What one request takes; it is given back at the end."""
        allowance = Allowance(self)
        try:
            yield allowance
        finally:
            allowance.close()

    def _move(self, count: int) -> None:
        with self._lock:
            if count > 0 and self.used + count > self._total:
                # To wait instead could last forever: each of two half-sent bodies would wait for the other.
                raise RefusedError(
                    503, f"the requests in flight hold {self.used} of {self._total} bytes; try again later", 2
                )
            self.used += count


class Allowance:
    """The share of one request, made by :meth:`Budget.allowance`."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._taken = 0

    def take(self, count: int) -> None:
        """Take so many bytes more; raises RefusedError (503) if there is no room."""
        self._budget._move(count)
        self._taken += count

    def close(self) -> None:
        """Give everything back."""
        self._budget._move(-self._taken)
        self._taken = 0
