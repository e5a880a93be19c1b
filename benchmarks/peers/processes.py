"""Packages in processes that take turns: one computes while the others sleep."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.report import ROOT, spread

_PAUSE = 0.3  # s; OpenMP threads spin for a while after their work
Answer = dict[str, Any]


class Process:
    """One package in a process of its own (``runner.py``).

    Args:
        role: ``lmnt``, ``vocos``, ``hifigan`` or ``ours``.
        package: folder that holds the package.
        threads: of torch.
        device: ``cpu`` or ``cuda``.
        seed: of torch's generators.
    """

    def __init__(self, role: str, package: Path, threads: int, device: str = "cpu", seed: int = 0) -> None:
        # -P: the folder that this was called in holds a diffwave, too, and must not come first.
        command = [sys.executable, "-P", "-m", "benchmarks.peers.runner", role, "--package", str(package)]
        command += ["--threads", str(threads), "--device", device, "--seed", str(seed)]
        search = os.pathsep.join(filter(None, [str(package), str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": str(threads)}
        environment["PYTHONWARNINGS"] = "ignore"  # of what is deprecated by now in the other packages
        self.role = role
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.communicate()  # the end of its input ends it

    def request(self, action: str, **fields: Any) -> Answer:
        """What it answers; what it cannot do, and that it has died, is told as ``error``."""
        answer = self.exchange({"action": action, **fields})
        # Nothing to tell is an answer as well.
        return {"error": f"the process ended with {self.process.wait()}"} if answer is None else answer

    def exchange(self, request: Answer) -> Answer | None:
        """Send a request and wait for the answer; None if the process has died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer: Answer | None = json.loads(line) if line else None
        return answer

    def ask(self, action: str, **fields: Any) -> Answer:
        """As ``request``.

        Raises:
            RuntimeError: if it could not be done.
        """
        answer = self.request(action, **fields)
        if "error" in answer:
            raise RuntimeError(f"{self.role}: {action}: {answer['error']}")
        return answer


@contextlib.contextmanager
def processes(packages: dict[str, Path], threads: int, device: str) -> Iterator[dict[str, Process]]:
    """A process for each package of other projects, and one for ours."""
    with contextlib.ExitStack() as stack:
        folders = packages | {"ours": ROOT}
        yield {role: stack.enter_context(Process(role, folder, threads, device)) for role, folder in folders.items()}


def take_turns(turns: dict[str, Callable[[bool], Answer]], rounds: int) -> dict[str, Answer]:
    """Let each compute once in a round, after one round to warm up.

    Args:
        turns: by name; each is told whether this is to warm up and answers with ``seconds`` or ``warm_up``, and with
            what else is worth telling. One that answers with ``error`` has no more turns.
        rounds: that count.

    Returns:
        The answers by name, with all ``seconds``.
    """
    rows: dict[str, Answer] = {name: {"seconds": []} for name in turns}
    for number in range(rounds + 1):
        for name, turn in turns.items():
            row = rows[name]
            if "error" in row:
                continue
            time.sleep(_PAUSE)
            answer = turn(number == 0)
            print(f"round {number} of {rounds}, {name}: {answer}", file=sys.stderr, flush=True)
            if "seconds" in answer:
                row["seconds"].append(answer.pop("seconds"))
            row |= answer
    return rows


def speed(base: Answer, row: Answer) -> Answer:
    """A row's speed beside another's for as much audio: ratios of neighbours in time."""
    audio = row.get("audio", 1.0) / base.get("audio", 1.0)
    return spread(audio * a / b for a, b in zip(base["seconds"], row["seconds"], strict=True))
