"""The fused residual layer: what its kernels take of a Hopper GPU, how exact they are, and how fast on a GPU.

    python benchmarks/kernels.py

Writes ``docs/benchmarks/kernels.json`` and ``docs/benchmarks/kernels.md``. Without a GPU the kernels are compiled for
one and checked in Triton's interpreter, and the page says so; with one they are checked and timed on it as well.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import kernels_compile
import kernels_roofline
from diffwave.files import write_text
from kernels_page import page
from machine import environment

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python benchmarks/kernels.py"


def interpreted_errors() -> dict[str, Any]:
    """Errors in Triton's interpreter, which is chosen when Triton is imported: in a process of its own."""
    settings = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, str(ROOT / "benchmarks" / "kernels_errors.py")]
    result = subprocess.run(command, env=settings, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def roofline() -> dict[str, Any]:
    """Limits of a layer and of whole models."""
    return {
        "flops": kernels_roofline.FLOPS,
        "bytes_per_second": kernels_roofline.DRAM,
        "layers": [row for channels in (32, 64, 96, 128) for row in kernels_roofline.layer_costs(channels)],
        "models": [kernels_roofline.model_limits(model) for model in kernels_roofline.MODELS],
        "cache": {str(channels): kernels_roofline.cache_traffic(channels) for channels in (32, 64, 96, 128)},
        "two_layers": {str(channels): kernels_roofline.two_layers(channels) for channels in (32, 64, 96, 128)},
    }


def on_gpu() -> dict[str, Any] | None:
    """Errors and timings on this machine's GPU; None without one."""
    if not torch.cuda.is_available():
        return None
    import kernels_errors
    import kernels_gpu

    # Errors first: timings of wrong kernels would mean nothing.
    errors = kernels_errors.errors("cuda", kernels_errors.ON_GPU)
    return {"errors": errors, "timings": kernels_gpu.everything()}


def main() -> None:
    """Compile, check, measure where there is a GPU, and write the page."""
    results = {
        "command": COMMAND,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "environment": environment(),
        "compiled": kernels_compile.everything(),
        "roofline": roofline(),
        "interpreter": interpreted_errors(),
        "gpu": on_gpu(),
    }
    folder = ROOT / "docs" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "kernels.json", json.dumps(results, indent=1) + "\n")
    write_text(folder / "kernels.md", page(results))
    print(page(results))


if __name__ == "__main__":
    main()
