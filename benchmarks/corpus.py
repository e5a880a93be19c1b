"""``diffwave synthesize-corpus`` with one worker and two, in processes and with Ray.

    python -m benchmarks.corpus [--repeats 3]

The packaged checkpoint on a CPU, recordings of the tests cut to pieces. Needs Ray. Writes
``docs/benchmarks/corpus.json`` and ``docs/benchmarks/corpus.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile

from benchmarks.report import ROOT, SPEECH, measured, said, spread, stamp, table, write
from diffwave.bulk.cluster import LOCAL, Cluster
from diffwave.bulk.corpus_run import Order, Pool, synthesize_corpus
from diffwave.bulk.local_workers import LocalProcesses
from diffwave.bulk.recorded_settings import Request
from diffwave.bulk.utterances import Shard, read_plan
from diffwave.bulk.worker import Setup

UTTERANCES, SECONDS = 48, 1.0
REQUEST = Request(device="cpu")


class Clock:
    """Progress that keeps the moment at which a worker finished each output."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.cpu: list[float] = []

    def begin(self, total: int, done: int) -> None:
        """Nothing is done beforehand."""
        assert (total, done) == (UTTERANCES, 0)

    def add(self, record: dict[str, Any]) -> None:
        """Keep the worker's time: a cluster hands over several at once."""
        assert "error" not in record, record
        self.times.append(record["finished"])
        self.cpu.append(record["cpu_seconds"])


def corpus(folder: Path) -> Path:
    """Pieces of speech of equal length."""
    wavs = [soundfile.read(path, dtype="float32") for path in SPEECH]
    for number in range(UTTERANCES):
        wav, rate = wavs[number % len(wavs)]
        length = int(SECONDS * rate)
        start = number * 1000 % (len(wav) - length)
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{number:03d}.flac", wav[start : start + length], rate)
    return folder


def run(source: Path, output: Path, make_pool: Callable[[Setup], Pool], clock: Clock) -> dict[str, Any]:
    """Synthesize the corpus; seconds until the first output, outputs per second, and a hash of all.

    The rate is that of the last two thirds: a second worker begins later than the first.
    """
    order = Order(read_plan(source, output, "wav"), Shard(), REQUEST, output)
    begun = time.time()
    synthesize_corpus(order, make_pool, clock)
    ended = time.time()
    times = sorted(clock.times)
    later = times[len(times) // 3 :]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(output.glob("*.wav"))))
    return {
        "first": times[0] - begun,
        "rate": (len(later) - 1) / (later[-1] - later[0]),
        "cpu_seconds": statistics.median(clock.cpu),
        "seconds": ended - begun,
        "sha256": digest.hexdigest(),
    }


def throughput(source: Path, folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Processes and Ray with one worker and two; settings take turns."""
    pools: dict[tuple[str, int], Callable[[Setup], Pool]] = {
        ("processes", 1): lambda setup: LocalProcesses(setup, 1),
        ("processes", 2): lambda setup: LocalProcesses(setup, 2),
        ("Ray", 1): lambda setup: Cluster(setup, LOCAL, 1),
        ("Ray", 2): lambda setup: Cluster(setup, LOCAL, 2),
    }
    found: dict[tuple[str, int], list[dict[str, Any]]] = {key: [] for key in pools}
    for repeat in range(repeats):
        for key, pool in pools.items():
            found[key].append(run(source, folder / f"{repeat}-{key[0]}-{key[1]}", pool, Clock()))
    rows = []
    for (kind, workers), runs in found.items():
        rows.append(
            {
                "workers": workers,
                "kind": kind,
                "rate": spread(each["rate"] for each in runs),
                "cpu_seconds": statistics.median(each["cpu_seconds"] for each in runs),
                "seconds_to_first": statistics.median(each["first"] for each in runs),
                "hashes": sorted({each["sha256"] for each in runs}),
            }
        )
    return rows


def page(results: dict[str, Any]) -> str:
    """The result page."""
    hashes = {digest for row in results["throughput"] for digest in row["hashes"]}
    one = {row["kind"]: row["rate"]["median"] for row in results["throughput"] if row["workers"] == 1}
    rates = [
        (
            f"{row['kind']}, {row['workers']}",
            said(row["rate"]),
            f"{row['rate']['median'] / one[row['kind']]:.2f}",
            f"{row['cpu_seconds']:.3f}",
            f"{row['seconds_to_first']:.1f}",
        )
        for row in results["throughput"]
    ]
    header = ["workers", "outputs per second", "times one worker", "CPU s for each output", "s to the first"]
    return "\n".join(
        [
            "# How `diffwave synthesize-corpus` scales",
            "",
            f"{measured(results)} Load of the machine at the beginning: {results['load']:.1f}. Where that is more than "
            "a little, outputs per second tell how Linux shared the cores between this and other work; CPU seconds of "
            "a worker for each output do not depend on that.",
            "",
            f"{UTTERANCES} utterances of {SECONDS} s, the packaged checkpoint as it is, one thread to a worker. "
            f"Outputs per second in the last two thirds of a run, median of {results['repeats']} runs that took "
            "turns, and their range; seconds until the first output, in which workers (and Ray) start and load PyTorch "
            "and the model:",
            "",
            *table(header, rates),
            "",
            f"All {len(results['throughput']) * results['repeats']} runs wrote "
            + ("the same bytes." if len(hashes) == 1 else f"**{len(hashes)} different sets of bytes**."),
            "",
        ]
    )


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    # Workers of Ray import this package as this process does.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = corpus(folder / "in")
        results = stamp(f"python -m benchmarks.corpus --repeats {options.repeats}") | {
            "repeats": options.repeats,
            "load": load,
            "throughput": throughput(source, folder, options.repeats),
        }
    import ray

    results["environment"]["ray"] = ray.__version__
    write("corpus", results, page(results))


if __name__ == "__main__":
    main()
