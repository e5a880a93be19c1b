"""How long a process takes to its first audio, beside the time that PyTorch takes to be imported.

    python benchmarks/startup.py --repeats 11

Whole processes, from their start to their end: ``python -c "import torch"``, and ``diffwave synthesize`` of one second
on the CPU. They take turns, after one of each that is not counted, so that files lie in memory and both meet the same
machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

UTTERANCE = Path(__file__).resolve().parent.parent / "diffwave" / "assets" / "utterance.flac"
# First audio may take this many times what the import takes.
LIMIT = 2.0


def measure(repeats: int = 11, threads: int = 1, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Time both kinds of process.

    Args:
        repeats: processes of each kind.
        threads: of PyTorch.
        arguments: further ones of ``diffwave synthesize``.

    Returns:
        ``import_torch`` and ``first_audio``, each with ``median``, ``low`` and ``high`` (quartiles) in seconds; their
        ``ratio`` and its ``limit``; ``repeats`` and ``threads``.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = _one_second(Path(folder))
        synthesize = ["-m", "diffwave", "synthesize", str(source), "--output", folder, "--device", "cpu", "--force"]
        commands = {"import_torch": ["-c", "import torch"], "first_audio": [*synthesize, *arguments]}
        for command in commands.values():
            _seconds(command, threads)
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repeats):
            for name, command in commands.items():
                seconds[name].append(_seconds(command, threads))
    figures = {name: _spread(values) for name, values in seconds.items()}
    ratio = figures["first_audio"]["median"] / figures["import_torch"]["median"]
    return {**figures, "ratio": ratio, "limit": LIMIT, "repeats": repeats, "threads": threads}


def _one_second(folder: Path) -> Path:
    """A recording of one second."""
    import soundfile

    wav, rate = soundfile.read(UTTERANCE, dtype="float32")
    path = folder / "source" / "one.wav"
    path.parent.mkdir()
    soundfile.write(path, wav[:rate], rate)
    return path


def _seconds(arguments: list[str], threads: int) -> float:
    """Wall time of a Python process; raises CalledProcessError if it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    return time.perf_counter() - begun


def _spread(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": median, "low": low, "high": high}


def as_table(measured: dict[str, Any]) -> str:
    """The figures for a person."""
    from diffwave.terminal.tables import table

    names = {"import_torch": 'python -c "import torch"', "first_audio": "diffwave synthesize, one second"}
    rows = [
        [name, *(f"{measured[key][figure]:.2f}" for figure in ("median", "low", "high")), ""]
        for key, name in names.items()
    ]
    rows.append(["ratio of the medians", f"{measured['ratio']:.2f}", "", "", f"at most {measured['limit']:g}"])
    return table(["process", "median s", "quartile", "quartile", ""], rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print(as_table(measure(options.repeats, options.threads)))


if __name__ == "__main__":
    main()
