"""Jobs for tests of the pool, by name, since workers import them; and a program that runs a pool and is ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from diffwave.processes.messages import Refusal, Work
from diffwave.processes.pool import SupervisedPool


def begin(*_: object) -> Work[str]:
    """A worker that does what a job is called."""
    return work


def work(job: str, tell: Callable[[Any], None]) -> Any:
    """``NAME``, or ``NAME then NAME``."""
    for name in job.split(" then "):
        if name == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif name == "hang":
            time.sleep(600)
        elif name == "raise":
            raise OSError("of the job's own")
        elif name == "leave":
            sys.exit(4)
        elif name == "speak":
            print("spoken", flush=True)
        elif name == "pause":
            time.sleep(0.5)
        elif name.startswith("meet"):
            meet(Path(name.split()[1]))
        tell(name)
    return os.getpid()


def meet(folder: Path) -> None:
    """Wait until three are there."""
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < 3:
        time.sleep(0.01)


def refuse() -> Work[str]:
    """A worker that cannot do what is asked for."""
    raise Refusal("expected another machine")


def end_at_once() -> Work[str]:
    """A worker that ends before it has begun."""
    os._exit(3)


def supervise(count: int) -> None:
    """Run a pool until this process is ended."""
    with SupervisedPool[str](lambda: partial(begin)) as pool:
        for _, event in pool.run(["pause then hang"] * count, count):
            print(event, flush=True)
