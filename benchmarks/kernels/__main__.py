"""The fused residual layer: what its kernels take of a Hopper GPU, how exact they are, and how fast on a GPU.

    python -m benchmarks.kernels

Writes ``docs/benchmarks/kernels.json`` and ``docs/benchmarks/kernels.md``. Without a GPU the kernels are compiled for
one and checked in Triton's interpreter, and the page says so; with one they are checked and timed on it as well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import torch

from benchmarks.kernels import compile as compiling
from benchmarks.kernels import roofline
from benchmarks.kernels.page import page
from benchmarks.report import ROOT, stamp, write


def interpreted_errors() -> dict[str, Any]:
    """Errors in Triton's interpreter, which is chosen when Triton is imported: in a process of its own."""
    settings = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "benchmarks.kernels.errors"]
    result = subprocess.run(command, env=settings, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def on_gpu() -> dict[str, Any] | None:
    """Errors and timings on this machine's GPU; None without one."""
    if not torch.cuda.is_available():
        return None
    from benchmarks.kernels import errors, gpu

    # Errors first: timings of wrong kernels would mean nothing.
    wrong = errors.errors("cuda", errors.ON_GPU)
    return {"errors": wrong, "timings": gpu.everything()}


def main() -> None:
    """Compile, check, measure where there is a GPU, and write the page."""
    results = {
        **stamp("python -m benchmarks.kernels"),
        "compiled": compiling.everything(),
        "roofline": roofline.limits(),
        "interpreter": interpreted_errors(),
        "gpu": on_gpu(),
    }
    write("kernels", results, page(results))


if __name__ == "__main__":
    main()
