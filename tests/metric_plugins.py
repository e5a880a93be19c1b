"""A package of metrics that misbehave, installed into a folder, for the tests of ``diffwave evaluate``."""

from __future__ import annotations

from pathlib import Path

_METADATA = "Metadata-Version: 2.1\nName: misbehaving-metrics\nVersion: 1.2.3\n"
_METRICS = '''
import os
import signal
import subprocess
import sys
import time

_IN_WORKER = getattr(sys.modules["__main__"], "__spec__", None) is not None and (
    sys.modules["__main__"].__spec__.name == "diffwave.processes.worker_process"
)
if _IN_WORKER and os.environ.get("MISBEHAVE") == "raise at start":
    raise RuntimeError("no licence on this machine")
if _IN_WORKER and os.environ.get("MISBEHAVE") == "exit at start":
    os._exit(3)


def segfault(reference, estimate, sample_rate):
    """Ends its process."""
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(reference, estimate, sample_rate):
    """Never answers."""
    with open(os.environ["PID_FILE"], "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(600)


def fail(reference, estimate, sample_rate):
    """Raises."""
    raise KeyError("first line\\nsecond line")


def refuse(reference, estimate, sample_rate):
    """Says why there is no score."""
    raise ValueError("expected laughter")


def nan(reference, estimate, sample_rate):
    """Returns what is no number."""
    return float("nan")


def leave(reference, estimate, sample_rate):
    """Wants to end the program."""
    sys.exit(4)


def chatter(reference, estimate, sample_rate):
    """Prints, from Python and from a program that reads what it can get."""
    print("{")
    subprocess.run(["cat"], timeout=5)
    return 1.0


def slow(reference, estimate, sample_rate):
    """Takes its time and writes down that it was called."""
    with open(os.environ["CALLS"], "a") as file:
        file.write(f"{len(reference)}\\n")
    time.sleep(float(os.environ.get("SECONDS", "0.1")))
    return float(abs(reference).mean())


slow.better = "lower"
slow.label = "slow <b>"


def odd(reference, estimate, sample_rate):
    """Says that up is better."""
    return 1.0


odd.better = "up"
'''
NAMES = ("segfault", "hang", "fail", "refuse", "nan", "leave", "chatter", "slow", "odd")


def install(folder: Path) -> Path:
    """Write the package and its metadata into ``folder``, which becomes importable by being on ``sys.path``."""
    about = folder / "misbehaving_metrics-1.2.3.dist-info"
    about.mkdir(parents=True)
    (folder / "misbehaving_metrics.py").write_text(_METRICS)
    (about / "METADATA").write_text(_METADATA)
    points = "".join(f"{name} = misbehaving_metrics:{name}\n" for name in NAMES)
    (about / "entry_points.txt").write_text(f"[diffwave.metrics]\n{points}")
    return folder
