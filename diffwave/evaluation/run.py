"""An evaluation from the first row to the last: workers, GPU batches and the journal together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from diffwave.evaluation.metrics import METRICS, RECORD, SPECTRAL, Metric
from diffwave.evaluation.outcome import Outcome
from diffwave.evaluation.pairs import Pair, System, stamp
from diffwave.evaluation.row_journal import RowJournal
from diffwave.evaluation.scoring import METRIC_ERROR, MISMATCH, OK, UNREADABLE, Loading
from diffwave.evaluation.spectral import MEL
from diffwave.evaluation.spectral_batches import SpectralBatches
from diffwave.evaluation.workers import TIMEOUT, WorkerSettings, run_here, run_workers


@dataclass(frozen=True)
class RunSettings:
    """How rows are scored.

    Args:
        metrics: columns of the results.
        workers: processes; 0 scores in this one.
        device: where spectral metrics run: ``cpu`` means in the workers.
        loading: how files are read.
        timeout: seconds without an answer after which a worker is given up.
    """

    metrics: tuple[Metric, ...]
    workers: int
    device: str = "cpu"
    loading: Loading = field(default_factory=Loading)
    timeout: float = TIMEOUT


def run(systems: list[System], settings: RunSettings, journal: RowJournal, progress: Callable[[], None]) -> None:
    """Score every row that is not in the journal.

    Args:
        systems: whose pairs are scored; again if a file has changed since.
        settings: how.
        journal: begun or resumed.
        progress: called after every row.

    Raises:
        EvaluationError: if workers cannot be started.
    """
    pairs = [pair for system in systems for pair in system.pairs]
    done = {key: outcome.files for key, outcome in journal.rows()}
    left = [row for row, pair in enumerate(pairs) if done.get((pair.system, pair.utterance)) != stamp(pair)]
    if not left:
        return
    filterbank = mel_filters()
    on_gpu = settings.device != "cpu" and any(metric.kind == SPECTRAL for metric in settings.metrics)
    batches = SpectralBatches(pairs, filterbank, settings.device, settings.loading) if on_gpu else None
    names = worker_metrics(settings.metrics, without_spectral=on_gpu)
    worker_settings = WorkerSettings(names, filterbank, settings.loading, settings.timeout)
    try:
        for outcome in _outcomes(pairs, left, worker_settings, settings.workers, batches):
            outcome.files = stamp(pairs[outcome.row])
            _complete(outcome, pairs[outcome.row], settings.metrics, batches)
            journal.add((pairs[outcome.row].system, pairs[outcome.row].utterance), outcome)
            progress()
    finally:
        if batches:
            batches.close()


def _outcomes(
    pairs: list[Pair], left: list[int], settings: WorkerSettings, workers: int, batches: SpectralBatches | None
) -> Iterator[Outcome]:
    def jobs() -> Iterator[tuple[int, Pair]]:
        for row in left:
            if batches:
                batches.ask(row)
            yield row, pairs[row]

    if workers == 0:
        return run_here(jobs(), settings)
    return run_workers(jobs(), settings, min(workers, len(left)))


def _complete(outcome: Outcome, pair: Pair, metrics: tuple[Metric, ...], batches: SpectralBatches | None) -> None:
    """Add what comes from the GPU and from the record beside the outputs."""
    spectral = batches.take(outcome.row) if batches else {}
    if outcome.status in (UNREADABLE, MISMATCH) or outcome.seconds is None:
        return
    for metric in metrics:
        if metric.kind == RECORD and metric.name in pair.recorded:
            outcome.scores[metric.name] = pair.recorded[metric.name]
        if batches and metric.kind == SPECTRAL:
            if metric.name in spectral:
                outcome.scores[metric.name] = spectral[metric.name]
            else:
                outcome.errors[metric.name] = f"{metric.name}: expected at least one frame of audio"
                outcome.status = METRIC_ERROR if outcome.status == OK else outcome.status


def worker_metrics(metrics: tuple[Metric, ...], without_spectral: bool) -> tuple[str, ...]:
    """Names of what the workers compute: cheap and safe metrics first, plug-ins next, PESQ last."""
    kinds = (RECORD, SPECTRAL) if without_spectral else (RECORD,)
    chosen = [metric.name for metric in metrics if metric.kind not in kinds]
    own = [name for name in METRICS if name in chosen and name != "pesq_wb"]
    others = [name for name in chosen if name not in METRICS]
    return (*own, *others, *(["pesq_wb"] if "pesq_wb" in chosen else []))


def mel_filters() -> np.ndarray:
    """Mel filters of the spectral metrics, float32 ``[M, K]``."""
    from diffwave.mel.spectrogram import mel_filterbank

    filters: np.ndarray = mel_filterbank(MEL).numpy()
    return filters
