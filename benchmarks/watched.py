"""The program as a process whose time and memory are watched from outside."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


def run_watched(*arguments: str | Path) -> dict[str, float]:
    """Run ``diffwave``; returns ``seconds`` from start to end, and ``own``, the most bytes that it was seen to hold.

    Raises:
        subprocess.CalledProcessError: if it fails; what it said is in ``stderr``.
    """
    command = [sys.executable, "-m", "diffwave", *map(str, arguments)]
    begun, own = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            # A figure of the system's own, but for a moment at the end, when there is none.
            peaks = [line.split()[1] for line in status.read_text("utf-8").splitlines() if line.startswith("VmHWM:")]
            own = max([own, *(int(kib) << 10 for kib in peaks)])
            time.sleep(0.05)
        seconds = time.perf_counter() - begun
        said = process.stderr.read() if process.stderr else ""
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=said)
    return {"seconds": seconds, "own": own}
