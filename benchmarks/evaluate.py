"""What ``diffwave evaluate`` does with more workers.

    python -m benchmarks.evaluate [--repeats 3]

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


def page(results: dict[str, Any]) -> str:
    """The result page."""
    rates = [
        (row["workers"], said(row["rows_per_second"]), f"{row['share_of_ideal']:.2f}") for row in results["throughput"]
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
        ]
    )


def main() -> None:
    """Measure and write the page."""
    import soundfile

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    workers = [count for count in (1, 2, 4, 8, 16, 32) if count <= usable_cores()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = throughput(corpus(folder / "speech", SPEECH, THROUGHPUT_ROWS), workers, options.repeats)
    results = stamp(f"python -m benchmarks.evaluate --repeats {options.repeats}") | {
        "throughput_rows": THROUGHPUT_ROWS,
        "mean_seconds": statistics.mean(soundfile.info(path).duration for path in SPEECH),
        "repeats": options.repeats,
        "throughput": rates,
    }
    write("evaluate", results, page(results))


if __name__ == "__main__":
    main()
