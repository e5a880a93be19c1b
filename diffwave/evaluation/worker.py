"""A worker process: jobs as JSON lines on stdin, findings as JSON lines on stdout.

It imports neither torch nor matplotlib, so that it starts in a fraction of a second and stays small. It ends when its
stdin does, also if the process that started it was killed.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np


def main() -> None:
    """Answer until stdin ends."""
    # Ctrl-C is for the process that supervises this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    answers = _own_stdout()
    jobs = _own_stdin()
    setting = json.loads(jobs.readline())
    try:
        context = prepare(setting)
    except Exception as error:
        _say(answers, {"fatal": f"{type(error).__name__}: {error}"})
        return
    _say(answers, {"ready": True})
    for line in jobs:
        for finding in answer(json.loads(line), context):
            _say(answers, finding)


def prepare(setting: dict[str, Any]) -> dict[str, Any]:
    """What stays the same from job to job: the metrics, the mel filters, how files are read."""
    from diffwave.evaluation.metrics import choose
    from diffwave.evaluation.scoring import Loading

    packed = zlib.decompress(base64.b64decode(setting["filterbank"]))
    filters = np.frombuffer(packed, np.float32).reshape(setting["shape"])
    metrics = choose(setting["metrics"]) if setting["metrics"] else []
    if any(metric.name == "pesq_wb" for metric in metrics):
        import pesq  # noqa: F401  (found missing now, not in every row)
    return {
        "metrics": {metric.name: metric for metric in metrics},
        "filterbank": filters,
        "loading": Loading(**setting["loading"]),
    }


def answer(job: dict[str, Any], context: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Findings of one job, ``{"row", ...}``, and ``{"row", "done"}`` at the end."""
    from diffwave.evaluation.scoring import score

    metrics = [context["metrics"][name] for name in job["metrics"]]
    paths = Path(job["reference"]), Path(job["estimate"])
    for finding in score(*paths, metrics, context["filterbank"], context["loading"]):
        yield {"row": job["row"], **finding}
    yield {"row": job["row"], "done": True}


def _end_with_parent() -> None:
    """Also in the middle of a metric that never returns (Linux)."""
    import ctypes

    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        return


def _own_stdin() -> TextIO:
    """Keep stdin for jobs: programs that a metric starts get none."""
    own = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return own


def _own_stdout() -> TextIO:
    """Keep stdout for answers: C code and libraries that print get stderr."""
    own = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    return own


def _say(stream: TextIO, finding: dict[str, Any]) -> None:
    stream.write(json.dumps(finding) + "\n")
    stream.flush()


if __name__ == "__main__":
    main()
