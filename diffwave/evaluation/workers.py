"""Scoring in supervised processes: a metric that crashes or hangs costs its cell, not the run.

Workers import neither torch nor matplotlib, so that they start in a fraction of a second and stay small.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from diffwave.evaluation.metrics import choose
from diffwave.evaluation.outcome import Outcome
from diffwave.evaluation.pairs import EvaluationError, Pair
from diffwave.evaluation.scoring import CRASHED, Loading, score
from diffwave.processes.messages import Done, Refusal, Said, Work
from diffwave.processes.pool import StartError, SupervisedPool

TIMEOUT = 120.0  # s without a finding


@dataclass(frozen=True, eq=False)
class WorkerSettings:
    """What every worker needs to know.

    Args:
        metrics: names, in the order in which they are computed.
        filterbank: mel filters, float32 ``[M, K]``.
        loading: how files are read.
        timeout: seconds without a finding after which a worker is given up.
    """

    metrics: tuple[str, ...]
    filterbank: np.ndarray
    loading: Loading
    timeout: float = TIMEOUT


@dataclass(eq=False)
class _Row:
    """A row on its way: what is found so far, and which metrics are left."""

    pair: Pair
    outcome: Outcome
    left: tuple[str, ...]

    def take(self, finding: dict[str, Any]) -> None:
        self.outcome.add(finding)
        self.left = tuple(name for name in self.left if name != finding.get("metric"))

    def blame(self, reason: str) -> None:
        """Note that a process did not survive what comes next."""
        self.outcome.status = CRASHED
        if self.outcome.seconds is None or not self.left:
            self.outcome.error, self.left = f"the process {reason} while reading", ()
        else:
            self.outcome.errors[self.left[0]] = f"{self.left[0]}: the process {reason}"
            self.left = self.left[1:]


def run_here(jobs: Iterable[tuple[int, Pair]], settings: WorkerSettings) -> Iterator[Outcome]:
    """Score in this process: for debugging, without protection."""
    work = _prepare(settings)
    for number, pair in jobs:
        row = _Row(pair, Outcome(number), settings.metrics)
        work(row, row.take)
        yield row.outcome


def run_workers(jobs: Iterable[tuple[int, Pair]], settings: WorkerSettings, count: int) -> Iterator[Outcome]:
    """Score in ``count`` processes; outcomes come as rows finish.

    Args:
        jobs: row numbers and pairs, taken one by one as workers fall idle.
        settings: for the workers.
        count: of processes, at least 1.

    Raises:
        EvaluationError: if workers cannot be started.
    """
    with contextlib.closing(ScoringPool(settings)) as pool:
        yield from pool.outcomes(jobs, count)


class ScoringPool:
    """Worker processes that live on from one call to the next.

    Args:
        settings: for the workers.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self._pool = SupervisedPool[_Row](lambda: partial(_begin, settings), settings.timeout, is_quiet=True)

    def outcomes(self, jobs: Iterable[tuple[int, Pair]], count: int) -> Iterator[Outcome]:
        """As :func:`run_workers`."""
        rows = (_Row(pair, Outcome(number), self.settings.metrics) for number, pair in jobs)
        try:
            for row, event in self._pool.run(rows, count):
                if isinstance(event, Said):
                    row.take(event.value)
                elif isinstance(event, Done):
                    yield row.outcome
                else:
                    row.blame(event.reason)
                    if row.left:
                        self._pool.again(row)  # with the metric after the one that did it
                    else:
                        yield row.outcome
        except Refusal as error:
            raise EvaluationError(f"metrics cannot be computed: {error}") from None
        except StartError as error:
            raise EvaluationError(f"worker processes cannot be started: {sys.executable} {error.lost.reason}") from None

    def close(self) -> None:
        """End the processes."""
        self._pool.close()


def _begin(settings: WorkerSettings) -> Work[_Row]:
    try:
        return _prepare(settings)
    except Exception as error:
        raise Refusal(f"{type(error).__name__}: {error}") from None


def _prepare(settings: WorkerSettings) -> Work[_Row]:
    """What computes the metrics that are left of a row, and tells each finding at once."""
    metrics = {metric.name: metric for metric in choose(settings.metrics)} if settings.metrics else {}
    if "pesq_wb" in metrics:
        import pesq  # noqa: F401  (found missing now, not in every row)

    def work(row: _Row, tell: Callable[[dict[str, Any]], None]) -> None:
        chosen = [metrics[name] for name in row.left]
        for finding in score(row.pair.reference, row.pair.estimate, chosen, settings.filterbank, settings.loading):
            tell(finding)

    return work
