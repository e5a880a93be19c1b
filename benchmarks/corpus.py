"""``diffwave synthesize-corpus`` with one worker and two, beside Ray, and when a machine is lost.

    python -m benchmarks.corpus [--repeats 3]

The packaged checkpoint on a CPU, recordings of the tests cut to pieces. Needs Ray. Writes
``docs/benchmarks/corpus.json`` and ``docs/benchmarks/corpus.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import soundfile
import torch

from benchmarks.report import ROOT, SPEECH, measured, said, spread, stamp, table, write
from diffwave.bulk.cluster import LOCAL, Cluster
from diffwave.bulk.corpus_run import Order, Pool, synthesize_corpus
from diffwave.bulk.local_workers import Processes
from diffwave.bulk.recorded_settings import Request
from diffwave.bulk.utterances import Shard, read_plan
from diffwave.bulk.worker import Setup
from diffwave.vocoder import Vocoder

UTTERANCES, SECONDS = 48, 1.0
REQUEST = Request(device="cpu")
# So that a lost node is noticed in a second, as in the tests; Ray's own setting takes about half a minute.
HEALTH = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 3,
}


class Clock:
    """Progress that keeps the moment at which a worker finished each output, and may do something then."""

    def __init__(self, then: Callable[[int], None] = lambda _: None) -> None:
        self.times: list[float] = []
        self.cpu: list[float] = []
        self.then = then

    def begin(self, total: int, done: int) -> None:
        """Nothing is done beforehand."""
        assert (total, done) == (UTTERANCES, 0)

    def add(self, record: dict[str, Any]) -> None:
        """Keep the worker's time: a cluster hands over several at once."""
        assert "error" not in record, record
        self.times.append(record["finished"])
        self.cpu.append(record["cpu_seconds"])
        self.then(len(self.times))


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
    result = synthesize_corpus(order, make_pool, clock)
    ended = time.time()
    times = sorted(clock.times)
    later = times[len(times) // 3 :]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(output.glob("*.wav"))))
    return {
        "first": times[0] - begun,
        "rate": (len(later) - 1) / (later[-1] - later[0]),
        "cpu_seconds": statistics.median(clock.cpu),
        "seconds": ended - begun,
        "begun_again": result["run"]["begun_again"],
        "sha256": digest.hexdigest(),
    }


def throughput(source: Path, folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Processes and Ray with one worker and two; settings take turns."""
    pools: dict[tuple[str, int], Callable[[Setup], Pool]] = {
        ("processes", 1): lambda setup: Processes(setup, 1),
        ("processes", 2): lambda setup: Processes(setup, 2),
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


@contextlib.contextmanager
def two_nodes() -> Iterator[tuple[str, int]]:
    """Two Ray nodes of a CPU each; yields the address and the process id of the second one's raylet."""
    from ray.cluster_utils import Cluster as Nodes

    size = {"num_cpus": 1, "object_store_memory": 80 << 20}
    nodes = Nodes(initialize_head=True, head_node_args={**size, "include_dashboard": False, "_system_config": HEALTH})
    try:
        second = nodes.add_node(**size)
        yield nodes.address, second.all_processes["raylet"][0].process.pid
    finally:
        nodes.shutdown()


def recovery(source: Path, output: Path) -> dict[str, Any]:
    """Kill one of two nodes after a third of the corpus."""
    killed_at: list[float] = []
    with two_nodes() as (address, raylet):

        def kill(count: int) -> None:
            if count == UTTERANCES // 3:
                os.kill(raylet, signal.SIGKILL)
                killed_at.append(time.time())

        clock = Clock(kill)
        result = run(source, output, lambda setup: Cluster(setup, address, None), clock)
    after = sorted(moment for moment in clock.times if moment > killed_at[0])
    return {
        "done_before": UTTERANCES - len(after),
        "seconds_after": after[-1] - killed_at[0],
        "longest_pause": max(b - a for a, b in zip([killed_at[0], *after], after, strict=False)),
        "begun_again": result["begun_again"],
        "sha256": result["sha256"],
    }


def rounding(source: Path) -> dict[str, float]:
    """Largest difference of a sample, full scale 1, that other threads and company in a batch make."""
    vocoder = Vocoder.from_pretrained(device="cpu")
    mels = [
        vocoder.mel(torch.from_numpy(soundfile.read(path, dtype="float32")[0])) for path in sorted(source.iterdir())
    ]
    mels = [mels[0], mels[1][:, :70]]
    outputs = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        outputs[threads] = [vocoder.synthesize(mel) for mel in mels]
    torch.set_num_threads(1)
    together = vocoder.synthesize_batch(mels)
    return {
        "threads": max(float((a - b).abs().max()) for a, b in zip(outputs[1], outputs[2], strict=True)),
        "batch": max(float((a - b).abs().max()) for a, b in zip(outputs[1], together, strict=True)),
    }


def page(results: dict[str, Any]) -> str:
    """The result page."""
    lost, differences = results["recovery"], results["rounding"]
    hashes = {digest for row in results["throughput"] for digest in row["hashes"]} | {lost["sha256"]}
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
    recovery = [
        ("utterances done before", f"{lost['done_before']} of {UTTERANCES}"),
        ("utterances begun again", lost["begun_again"]),
        ("seconds from the kill to the last output, on the node that was left", f"{lost['seconds_after']:.1f}"),
        ("longest of these without an output", f"{lost['longest_pause']:.1f}"),
    ]
    rounding = [
        ("two threads", f"{differences['threads']:.2g}"),
        ("two utterances of different lengths in a batch", f"{differences['batch']:.2g}"),
    ]
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
            "When one of two Ray nodes (a raylet each on this machine, a CPU each) is killed:",
            "",
            *table(["", ""], recovery),
            "",
            f"All {len(results['throughput']) * results['repeats'] + 1} runs wrote "
            + ("the same bytes." if len(hashes) == 1 else f"**{len(hashes)} different sets of bytes**."),
            "",
            "Why a worker has one thread and takes one utterance at a time: the largest difference of a sample (full "
            "scale 1) that something else makes, hundreds of iterations of mel consistency after the first rounding "
            "error.",
            "",
            *table(["instead of one thread and one utterance", "largest difference"], rounding),
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
            "recovery": recovery(source, folder / "lost"),
            "rounding": rounding(source),
        }
    import ray

    results["environment"]["ray"] = ray.__version__
    write("corpus", results, page(results))


if __name__ == "__main__":
    main()
