"""What ``diffwave evaluate`` does with more workers and with many rows: throughput and memory.

    python -m benchmarks.evaluate [--repeats 3] [--rows 10000]

Uses the recordings of the tests. Writes ``docs/benchmarks/evaluate.json`` and ``docs/benchmarks/evaluate.md``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.report import SPEECH, measured, said, spread, stamp, table, write
from benchmarks.watched import run_watched
from diffwave.evaluation.metrics import RECORD, choose
from diffwave.evaluation.pairs import match
from diffwave.evaluation.run import mel_filters, worker_metrics
from diffwave.evaluation.scoring import Loading
from diffwave.evaluation.workers import WorkerSettings, run_workers
from diffwave.processes.cores import usable_cores

THROUGHPUT_ROWS = 48


def corpus(folder: Path, sources: Sequence[Path], rows: int) -> Path:
    """A folder of so many names for the recordings, in subfolders of a thousand."""
    for index, source in enumerate(islice(cycle(sources), rows)):
        place = folder / f"{index // 1000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{index:06d}{source.suffix}").symlink_to(source)
    return folder


def throughput(folder: Path, workers: list[int], repeats: int) -> list[dict[str, Any]]:
    """Rows per second by number of workers, from the first row to the last; settings take turns."""
    (system,) = match(folder, {"copy": folder})
    metrics = tuple(metric for metric in choose(["default"]) if metric.kind != RECORD)
    settings = WorkerSettings(worker_metrics(metrics, without_spectral=False), mel_filters(), Loading())
    rates: dict[int, list[float]] = {count: [] for count in workers}
    for _ in range(repeats):
        for count in workers:
            # Starting up costs the same however many rows there are: the clock starts with the first outcome.
            outcomes = run_workers(enumerate(system.pairs), settings, count)
            next(outcomes)
            begun = time.perf_counter()
            rates[count].append(sum(1 for _ in outcomes) / (time.perf_counter() - begun))
    one = statistics.median(rates[workers[0]])
    return [
        {
            "workers": count,
            "rows_per_second": spread(values),
            "share_of_ideal": statistics.median(values) / (one * count),
        }
        for count, values in rates.items()
    ]


def memory(folder: Path, rows: int) -> dict[str, Any]:
    """Peak memory and time of a whole evaluation of so many rows."""
    clip = folder / "clip.wav"
    if not clip.exists():
        import soundfile

        samples, rate = soundfile.read(SPEECH[0], dtype="float32")
        soundfile.write(clip, samples[8000:16000], rate)
    audio = corpus(folder / str(rows), [clip], rows)
    where = ["--reference", audio, "--estimate", f"copy={audio}", "--report", folder / f"r{rows}"]
    how = ["--metrics", "level,log_mel,stoi", "--floor", "0", "--workers", "2"]
    return {"rows": rows, **run_watched("evaluate", *where, *how)}


def page(results: dict[str, Any]) -> str:
    """The result page."""
    rates = [
        (row["workers"], said(row["rows_per_second"]), f"{row['share_of_ideal']:.2f}") for row in results["throughput"]
    ]
    memory = [
        (f"{row['rows']:,}", f"{row['seconds']:.0f}", *(f"{row[who] / 2**20:.0f}" for who in ("own", "children")))
        for row in results["memory"]
    ]
    return "\n".join(
        [
            "# How `diffwave evaluate` scales",
            "",
            measured(results),
            "",
            f"Throughput with the default metrics, {results['throughput_rows']} rows of the recordings in this "
            f"repository ({results['mean_seconds']:.1f} s each on average), median of {results['repeats']} and its "
            "range:",
            "",
            *table(["workers", "rows per second", "share of N times one worker"], rates, 0),
            "",
            "Memory of whole evaluations of half-second clips, two workers, level, log-mel distance and STOI (the "
            "parent's peak holds PyTorch and, at the end, the pictures of the report):",
            "",
            *table(["rows", "seconds", "parent's peak, MiB", "largest worker's peak, MiB"], memory, 0),
            "",
        ]
    )


def main() -> None:
    """Measure and write the page."""
    import soundfile

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=10000, help="of the largest evaluation")
    options = parser.parse_args()
    workers = [count for count in (1, 2, 4, 8, 16, 32) if count <= usable_cores()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = throughput(corpus(folder / "speech", SPEECH, THROUGHPUT_ROWS), workers, options.repeats)
        peaks = [memory(folder, rows) for rows in (options.rows // 100, options.rows // 10, options.rows)]
    results = stamp(f"python -m benchmarks.evaluate --repeats {options.repeats} --rows {options.rows}") | {
        "throughput_rows": THROUGHPUT_ROWS,
        "mean_seconds": statistics.mean(soundfile.info(path).duration for path in SPEECH),
        "repeats": options.repeats,
        "throughput": rates,
        "memory": peaks,
    }
    write("evaluate", results, page(results))


if __name__ == "__main__":
    main()
