"""Scores of outputs as they are made, by the evaluation's supervised worker process: PESQ may take that one down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffwave.evaluation.metrics import RECORD, Metric, choose
from diffwave.evaluation.outcome import Outcome
from diffwave.evaluation.pairs import Pair
from diffwave.evaluation.run import mel_filters, worker_metrics
from diffwave.evaluation.scoring import OK, Loading
from diffwave.evaluation.workers import ScoringPool, WorkerSettings

NO_REFERENCE = "no_reference"


def columns(names: tuple[str, ...]) -> list[Metric]:
    """Metrics that compare audio, by name; what `synthesis.json` would tell is no column here.

    Raises:
        MetricError: for an unknown name.
    """
    return [metric for metric in choose(names) if metric.kind != RECORD]


class Scorer:
    """Scores one pair after the other; the process that does it lives on in between.

    Args:
        names: of the metrics.
        timeout: seconds after which a metric is given up.
    """

    def __init__(self, names: tuple[str, ...], timeout: float) -> None:
        metrics = worker_metrics(tuple(columns(names)), without_spectral=False)
        self._names = sorted(metrics)
        # References have their own rates: the model's mel is made of what they were resampled to.
        self._pool = ScoringPool(WorkerSettings(metrics, mel_filters(), Loading(resample=True), timeout))

    def score(self, utterance: str, reference: Path | None, estimate: Path) -> dict[str, Any]:
        """Compare two files.

        Returns:
            ``scores`` by metric, ``score_metrics`` (what was to be computed), ``score_status`` (one of
            ``scoring.STATUSES``, or ``no_reference``), and ``score_error``, in words.

        Raises:
            EvaluationError: if the process cannot be started.
        """
        if reference is None:
            return self._found({}, NO_REFERENCE, "there is no recording to compare with")
        [outcome] = self._pool.outcomes([(0, Pair("", utterance, "", reference, estimate))], 1)
        why = "; ".join(filter(None, [outcome.error, *outcome.errors.values()]))
        return self._found(outcome.scores, outcome.status, why)

    def _found(self, scores: dict[str, float], status: str, why: str) -> dict[str, Any]:
        return {"scores": scores, "score_metrics": self._names, "score_status": status, "score_error": why}

    def close(self) -> None:
        """End the process."""
        self._pool.close()


def as_outcome(record: dict[str, Any]) -> Outcome:
    """What a record tells of its scores."""
    errors = {} if record["score_status"] == OK else {"": record["score_error"]}
    return Outcome(0, record["score_status"], "", record["duration"], record["scores"], errors)
