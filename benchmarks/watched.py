"""The program as a process whose time and memory are watched from outside."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

_PAUSE = 0.05  # s between two looks


def run_watched(*arguments: str | Path) -> dict[str, float]:
    """Run ``diffwave`` with these arguments.

    Returns:
        ``seconds`` from start to end; ``own`` and ``children``: the most bytes that the process, and the largest of
        those that it started, were seen to hold.

    Raises:
        subprocess.CalledProcessError: if it fails; what it said is in ``stderr``.
    """
    command = [sys.executable, "-m", "diffwave", *map(str, arguments)]
    begun, own, children = time.perf_counter(), 0, 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            seen = _peaks()
            own = max(own, seen.get(process.pid, (0, 0))[1])
            children = max([children, *(peak for pid, (_, peak) in seen.items() if _began(pid, process.pid, seen))])
            time.sleep(_PAUSE)
        seconds = time.perf_counter() - begun
        said = process.stderr.read() if process.stderr else ""
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=said)
    return {"seconds": seconds, "own": own, "children": children}


def _peaks() -> dict[int, tuple[int, int]]:
    """Parent and largest memory in bytes of every process."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = status.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:  # it has ended meanwhile
            continue
        fields = dict(line.split(":", 1) for line in lines)
        if "VmHWM" in fields:
            found[int(status.parent.name)] = int(fields["PPid"]), int(fields["VmHWM"].split()[0]) << 10
    return found


def _began(pid: int, ancestor: int, seen: dict[int, tuple[int, int]]) -> bool:
    """Whether one process was started by another, or by one that it started."""
    while pid in seen:
        pid = seen[pid][0]
        if pid == ancestor:
            return True
    return False
