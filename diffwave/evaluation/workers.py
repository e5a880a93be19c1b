"""Supervised worker processes: a metric that crashes or hangs costs its cell, not the run.

PESQ's C code can end its process or never return. Python's own pools answer the first by failing every job that is
left, or by waiting forever; here each worker has one job at a time, and whoever dies or stays silent is replaced.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import signal
import subprocess
import sys
import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffwave.evaluation.outcome import Outcome
from diffwave.evaluation.pairs import EvaluationError, Pair
from diffwave.evaluation.scoring import CRASHED, Loading
from diffwave.evaluation.worker import answer, prepare

TIMEOUT = 120.0  # s without a finding
_FAILED_STARTS = 3


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

    def as_json(self) -> dict[str, Any]:
        """As a worker reads it."""
        return {
            "metrics": list(self.metrics),
            "filterbank": base64.b64encode(zlib.compress(self.filterbank.astype(np.float32).tobytes())).decode(),
            "shape": list(self.filterbank.shape),
            "loading": {"resample": self.loading.resample, "tolerance": self.loading.tolerance},
        }


def run_here(jobs: Iterable[tuple[int, Pair]], settings: WorkerSettings) -> Iterator[Outcome]:
    """Score in this process: for debugging, without protection."""
    context = prepare(settings.as_json())
    for row, pair in jobs:
        outcome = Outcome(row)
        for finding in answer(_job(row, pair, settings.metrics), context):
            outcome.add(finding)
        yield outcome


def run_workers(jobs: Iterable[tuple[int, Pair]], settings: WorkerSettings, count: int) -> Iterator[Outcome]:
    """Score in ``count`` processes; outcomes come as rows finish.

    Args:
        jobs: row numbers and pairs, taken one by one as workers fall idle.
        settings: for the workers.
        count: of processes, at least 1.

    Raises:
        EvaluationError: if workers cannot be started.
    """
    supervisor = _Supervisor(iter(jobs), settings)
    try:
        supervisor.start(count)
        yield from supervisor.outcomes()
    finally:
        supervisor.stop()


def _job(row: int, pair: Pair, metrics: tuple[str, ...]) -> dict[str, Any]:
    return {"row": row, "reference": str(pair.reference), "estimate": str(pair.estimate), "metrics": list(metrics)}


@dataclass(eq=False)
class _Task:
    """A row on its way: what is found so far, and which metrics are left."""

    pair: Pair
    outcome: Outcome
    left: tuple[str, ...]


class _Worker:
    """A process, its unfinished line of output, and its task."""

    def __init__(self, settings: WorkerSettings) -> None:
        # The worker imports what this process could, also from a checkout or a plug-in's folder.
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "diffwave.evaluation.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self.ready = False
        self.task: _Task | None = None
        self.silent = 0.0
        self._rest = b""
        self.send(settings.as_json())

    def send(self, message: dict[str, Any]) -> None:
        """Write one line; a worker that is gone is noticed when it is read from."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def read(self) -> list[dict[str, Any]] | None:
        """The findings that are there; None at the end of the stream, when the process is gone."""
        data = os.read(self.fileno(), 1 << 16)
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def fileno(self) -> int:
        """Of the worker's stdout, for the selector."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def close(self, patience: float = 0.0) -> int:
        """End the process, whatever it does, and return its exit code."""
        try:
            self.process.wait(patience)  # who closed its output is about to end, and says how
        except subprocess.TimeoutExpired:
            self.process.kill()
        code = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                if stream:
                    stream.close()
            except BrokenPipeError:
                pass  # what was buffered for it has no reader any more
        return code


class _Supervisor:
    """Hands out jobs, gathers findings, replaces workers."""

    def __init__(self, jobs: Iterator[tuple[int, Pair]], settings: WorkerSettings) -> None:
        self.jobs = jobs
        self.settings = settings
        self.again: deque[_Task] = deque()  # rows whose worker died with metrics left to compute
        self.selector = selectors.DefaultSelector()
        self.failed_starts = 0

    def start(self, count: int) -> None:
        """Start so many workers."""
        for _ in range(count):
            self.selector.register(worker := _Worker(self.settings), selectors.EVENT_READ, worker)

    def stop(self) -> None:
        """End every worker."""
        for worker in self._workers():
            self.selector.unregister(worker)
            worker.close()
        self.selector.close()

    def outcomes(self) -> Iterator[Outcome]:
        """Outcomes until all jobs are done."""
        while self._workers():
            begun = time.monotonic()
            heard = [key.data for key, _ in self.selector.select(timeout=1.0)]
            # Only time spent here counts: not what the taker of the outcomes needs, nor a pause of the whole command.
            waited = min(time.monotonic() - begun, 1.0)
            for worker in heard:
                yield from self._hear(worker)
            for worker in self._workers():
                worker.silent = 0.0 if worker in heard else worker.silent + waited
                if (worker.task or not worker.ready) and worker.silent > self.settings.timeout:
                    yield from self._lost(worker, f"gave no answer for {self.settings.timeout:g} s")

    def _workers(self) -> list[_Worker]:
        return [key.data for key in self.selector.get_map().values()]

    def _hear(self, worker: _Worker) -> Iterator[Outcome]:
        findings = worker.read()
        if findings is None:
            yield from self._lost(worker, "")
            return
        for finding in findings:
            if "fatal" in finding:
                raise EvaluationError(f"metrics cannot be computed: {finding['fatal']}")
            if "ready" in finding:
                worker.ready, self.failed_starts = True, 0
                self._next_job(worker)
            elif "done" in finding:
                assert worker.task is not None
                yield worker.task.outcome
                self._next_job(worker)
            else:
                self._take(worker, finding)

    def _take(self, worker: _Worker, finding: dict[str, Any]) -> None:
        task = worker.task
        assert task is not None
        if not (task.outcome.status == CRASHED and "seconds" in finding):
            task.outcome.add(finding)
        task.left = tuple(name for name in task.left if name != finding.get("metric"))

    def _next_job(self, worker: _Worker) -> None:
        """Give a job to an idle worker, or let it go."""
        worker.task = self._next_task()
        if worker.task is None:
            self.selector.unregister(worker)
            worker.close()
            return
        worker.silent = 0.0
        worker.send(_job(worker.task.outcome.row, worker.task.pair, worker.task.left))

    def _next_task(self) -> _Task | None:
        if self.again:
            return self.again.popleft()
        for row, pair in self.jobs:
            return _Task(pair, Outcome(row), self.settings.metrics)
        return None

    def _lost(self, worker: _Worker, reason: str) -> Iterator[Outcome]:
        """Replace a worker that died or was given up; its row goes on with the metric after the one that did it."""
        self.selector.unregister(worker)
        code = worker.close(patience=0.0 if reason else 1.0)
        reason = reason or _describe(code)
        if not worker.ready:
            self.failed_starts += 1
            if self.failed_starts >= _FAILED_STARTS:
                raise EvaluationError(f"worker processes cannot be started: {sys.executable} {reason}")
        if worker.task is not None:
            yield from self._blame(worker.task, reason)
        self.start(1)

    def _blame(self, task: _Task, reason: str) -> Iterator[Outcome]:
        outcome = task.outcome
        if outcome.seconds is None or not task.left:
            outcome.status, outcome.error = CRASHED, f"the process {reason} while reading"
            yield outcome
            return
        outcome.errors[task.left[0]] = f"{task.left[0]}: the process {reason}"
        outcome.status = CRASHED
        task.left = task.left[1:]
        if task.left:
            self.again.append(task)
        else:
            yield outcome


def _describe(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
