"""What an evaluation leaves: ``utterances.csv``, ``summary.json``, ``scores.png``, ``report.html``, each whole."""

from __future__ import annotations

import csv
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import diffwave
from diffwave.audio.file import RESAMPLER
from diffwave.evaluation.charts import intervals
from diffwave.evaluation.findings import Results, summarize
from diffwave.evaluation.metrics import GROUP, METRICS, SAMPLE_RATE
from diffwave.evaluation.pitch import SETTINGS as PITCH
from diffwave.evaluation.report import build
from diffwave.evaluation.scoring import Loading
from diffwave.evaluation.spectral import LSD_FFT, LSD_HOP, MEL, MR_STFT
from diffwave.files import atomic_path, write_text
from diffwave.web.page import png

CSV, SUMMARY, PICTURE, REPORT = "utterances.csv", "summary.json", "scores.png", "report.html"
_PACKAGES = ("numpy", "scipy", "torch", "pesq", "pystoi", "librosa", "soundfile", "soxr")


def environment(results: Results) -> dict[str, str]:
    """Versions of all that scores depend on."""
    versions = {"diffwave": diffwave.__version__, "python": platform.python_version()}
    import soundfile

    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    versions["libsndfile"] = soundfile.__libsndfile_version__
    chosen = {metric.name for metric in results.metrics if metric.name not in METRICS}
    for point in metadata.entry_points(group=GROUP):
        if point.name in chosen and point.dist is not None:
            versions[point.dist.name] = point.dist.version
    return versions


def parameters(loading: Loading, device: str) -> dict[str, Any]:
    """Settings of the metrics, for those who compare with other figures."""
    return {
        "sample_rate": SAMPLE_RATE,
        "resampler": RESAMPLER,
        "rates_may_differ": loading.resample,
        "length_tolerance_s": loading.tolerance,
        "lsd": f"{LSD_FFT}-point periodic Hann, hop {LSD_HOP}",
        "mel": MEL.describe(),
        "mr_stft": "; ".join("n_fft {}, hop {}, window {}".format(*sizes) for sizes in MR_STFT),
        "pyin": ", ".join(f"{key} {value:g}" for key, value in PITCH.items()),
        "spectral_metrics_on": device,
    }


def write(
    folder: Path, results: Results, reference: Path, loading: Loading, device: str, no_floor: str = ""
) -> dict[str, Any]:
    """Write the files and return the summary.

    Args:
        folder: of the report; exists.
        results: every row.
        reference: folder of the recordings.
        loading: how files were read.
        device: where spectral metrics ran.
        no_floor: why there is none, if there is none.
    """
    for name in (CSV, SUMMARY, PICTURE, REPORT):
        for leftover in folder.glob(f".{name}.*"):  # of a process that was killed while it wrote
            leftover.unlink(missing_ok=True)
    summary = {
        "format": 1,
        "reference": str(reference),
        **summarize(results),
        "parameters": parameters(loading, device),
        "versions": environment(results),
    }
    summary["floor"]["reason"] = "" if summary["floor"]["systems"] else no_floor
    _write_csv(folder / CSV, results)
    write_text(folder / SUMMARY, json.dumps(summary, indent=1, allow_nan=False) + "\n")
    _write_picture(folder / PICTURE, results, summary)
    names = ", ".join(system.name for system in results.systems if system.name)
    write_text(folder / REPORT, build(results, summary, f"Evaluation of {names}"))
    return summary


def _write_picture(path: Path, results: Results, summary: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(png(intervals(results, summary)))


def _write_csv(path: Path, results: Results) -> None:
    """One line per row; what failed is empty."""
    names = [metric.name for metric in results.metrics]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["system", "utterance", "speaker", "reference", "estimate", "seconds", "status", *names, "error"]
        )
        for system in results.systems:
            for row in results.rows[system.name]:
                pair, outcome = row.pair, row.outcome
                errors = "; ".join(filter(None, [outcome.error, *outcome.errors.values()]))
                seconds = "" if outcome.seconds is None else outcome.seconds
                scores = [outcome.scores.get(name, "") for name in names]
                about = [system.name, pair.utterance, pair.speaker, pair.reference, pair.estimate]
                writer.writerow([*about, seconds, outcome.status, *scores, errors])
