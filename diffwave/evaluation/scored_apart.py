"""Scores of outputs that are computed in another process, since PESQ's C code can end its own or never return."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from diffwave.audio.file import write_wav
from diffwave.evaluation.pairs import EvaluationError, Pair
from diffwave.evaluation.run import mel_filters
from diffwave.evaluation.scoring import Loading
from diffwave.evaluation.workers import WorkerSettings, run_workers

log = logging.getLogger(__name__)

# PESQ comes last: what a worker that dies has found before, stays.
_METRICS = ("synchrony", "pesq_wb")
_TIMEOUT = 60.0  # s; of the few seconds of an output PESQ needs less than one


def score(heard: Sequence[tuple[str, Tensor, Tensor]], sample_rate: int) -> list[dict[str, float]]:
    """PESQ and band synchrony, as ``evaluate`` defines them.

    A score that cannot be computed is not in the result, and the log says why.

    Args:
        heard: name, reference and output of each utterance; both finite, on the CPU, shape ``[N]``.
        sample_rate: in Hz.

    Returns:
        ``pesq_wb`` and ``synchrony`` of each utterance.
    """
    scores: list[dict[str, float]] = [{} for _ in heard]
    if not heard:
        return scores
    settings = WorkerSettings(_METRICS, mel_filters(), Loading(), _TIMEOUT)
    try:
        with tempfile.TemporaryDirectory(prefix="diffwave-outputs-") as folder:
            jobs = [(row, _pair(Path(folder), row, each, sample_rate)) for row, each in enumerate(heard)]
            for outcome in run_workers(jobs, settings, 1):
                scores[outcome.row] = outcome.scores
                for reason in filter(None, (outcome.error, *outcome.errors.values())):
                    log.warning("outputs: %s: %s", heard[outcome.row][0], reason)
    except (EvaluationError, OSError) as error:
        log.warning("outputs: not all of them are scored; %s", error)
    return scores


def _pair(folder: Path, row: int, heard: tuple[str, Tensor, Tensor], sample_rate: int) -> Pair:
    """Write a reference and an output to where the worker finds them."""
    reference, estimate = folder / f"{row}.reference.wav", folder / f"{row}.wav"
    write_wav(reference, heard[1], sample_rate)
    write_wav(estimate, heard[2], sample_rate)
    return Pair("", str(row), "", reference, estimate)
