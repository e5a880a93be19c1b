"""Speech of other corpora and languages: found in folders, brought to the model's rate, spoken and scored."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.quality.outputs import Work, evaluate, utterance_scores
from benchmarks.quality.systems import DEFAULT, ELSEWHERE, FLOOR, System
from benchmarks.quality.tables import cell, failures, markdown
from diffwave.audio.file import read_audio, write_wav
from diffwave.evaluation.metrics import METRICS
from diffwave.evaluation.pairs import EvaluationError, audio_files

COLUMNS = ("pesq_wb", "estoi", "mr_stft_aligned", "synchrony")
# Multilingual LibriSpeech, as sets of examples name it: de_de_1844_931_000007.
_LANGUAGE = re.compile(r"([a-z]{2})_[a-z]{2}_")
_LANGUAGES = {
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
}


@dataclass(frozen=True)
class Corpus:
    """Recordings of a corpus, ready for every system.

    Args:
        name: of its folder.
        reference: folder of the recordings at the model's rate.
        rates: how many recordings had which sample rate, in Hz.
    """

    name: str
    reference: Path
    rates: dict[int, int]


def find(folder: Path) -> dict[str, dict[str, Path]]:
    """Recordings of each corpus, by relative path without suffix; a corpus is a first-level folder that holds audio.

    Raises:
        EvaluationError: if there is none.
    """
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir() and not path.name.startswith("."):
            try:
                found[path.name] = audio_files(path, "--other")
            except EvaluationError:
                continue  # holds no audio, such as a folder of transcripts
    if not found:
        raise EvaluationError(f"--other {folder}: expected folders of audio, one for each corpus; got none")
    return found


def prepare(folder: Path, work: Path, rate: int, limit: int | None) -> list[Corpus]:
    """Write the recordings of every corpus at one rate, so that outputs and recordings can be compared as they are.

    Args:
        folder: of the corpora.
        work: where ``CORPUS/reference`` goes.
        rate: of the model, in Hz.
        limit: only so many recordings of each.
    """
    corpora = []
    for name, files in find(folder).items():
        reference = work / name / "reference"
        shutil.rmtree(reference, ignore_errors=True)
        rates: Counter[int] = Counter()
        for key, source in list(files.items())[:limit]:
            audio = read_audio(source, rate)
            rates[audio.source_rate] += 1
            path = reference / f"{key}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_wav(path, audio.wav, rate)
        corpora.append(Corpus(name, reference, dict(rates)))
    return corpora


def works(corpora: Sequence[Corpus], chosen: Sequence[System], device: str) -> list[Work]:
    """What has to be made: of each corpus, the systems of ``ELSEWHERE``."""
    systems = [system for name in ELSEWHERE for system in chosen if system.name == name]
    return [
        Work(system, corpus.reference, corpus.reference.parent / system.folder, device)
        for corpus in corpora
        for system in systems
    ]


def score(corpora: Sequence[Corpus], chosen: Sequence[System], device: str) -> list[dict[str, Any]]:
    """Scores of every corpus: the systems' means, and of every recording."""
    results = []
    for corpus in corpora:
        report = corpus.reference.parent / "report"
        summary = evaluate(works([corpus], chosen, device), COLUMNS, report, device)
        results.append(
            {
                "corpus": corpus.name,
                "rates": corpus.rates,
                "systems": summary["systems"],
                "comparisons": summary["comparisons"],
                "utterances": utterance_scores(report, COLUMNS),
            }
        )
    return results


def section(results: dict[str, Any]) -> list[str]:
    """What the page says of them; nothing if none were given."""
    corpora = results.get("other")
    if not corpora:
        return []
    labels = [METRICS[name].label for name in COLUMNS]
    rows = [
        [corpus["corpus"], str(system["rows"]), results["labels"][system["name"]]]
        + [cell(name, system["scores"][name]) for name in COLUMNS]
        for corpus in corpora
        for system in corpus["systems"]
    ]
    return [
        "## Other corpora and languages",
        "",
        "Speech of corpora, speakers and languages that the checkpoint was never trained on: it has heard English of "
        f"LibriSpeech alone. {_resampled(corpora)}Intervals are over speakers where names of files tell them, else "
        "over recordings; there are few of either, so differences that look large may be chance.",
        "",
        *markdown(["corpus", "recordings", "system", *labels], rows, 3),
        "",
        *(line for corpus in corpora for line in _failures(corpus, results["labels"])),
        *_languages(results),
    ]


def _failures(corpus: dict[str, Any], labels: dict[str, str]) -> list[str]:
    return failures(corpus["systems"], {name: f"{corpus['corpus']}, {label}" for name, label in labels.items()})


def _resampled(corpora: list[dict[str, Any]]) -> str:
    """Which sample rates the recordings came with."""
    said = []
    for corpus in corpora:
        rates = " and ".join(f"{int(rate) / 1000:g}" for rate in sorted(corpus["rates"], key=int))
        said.append(f"{corpus['corpus']} {rates} kHz")
    return (
        f"Recordings at another rate than the model's were resampled first, before mel and scores (as found: "
        f"{', '.join(said)}). "
    )


def _languages(results: dict[str, Any]) -> list[str]:
    """Every recording whose name says its language."""
    scores: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for corpus in results["other"]:
        for row in corpus["utterances"]:
            key = (corpus["corpus"], row["utterance"])
            scores.setdefault(key, {})[row["system"]] = row
    rows = [
        [_language(utterance), f"{corpus}/{utterance}", *_recording(found)]
        for (corpus, utterance), found in scores.items()
        if _LANGUAGE.match(Path(utterance).name)
    ]
    if not rows:
        return []
    header = [
        f"{METRICS[metric].label}, {who}" for metric in ("pesq_wb", "synchrony") for who in ("default", "no network")
    ]
    return [
        "By recording, for names that begin with a language (`de_de_…` is German); *no network* is "
        f"{results['labels'][FLOOR].removeprefix('no network: ')}:",
        "",
        *markdown(["language", "recording", *header], rows, 2),
        "",
    ]


def _language(utterance: str) -> str:
    match = _LANGUAGE.match(Path(utterance).name)
    code = match[1] if match else ""
    return _LANGUAGES.get(code, code)


def _recording(found: dict[str, dict[str, Any]]) -> list[str]:
    """PESQ and synchrony, each of the default and of the floor."""
    cells = []
    for metric in ("pesq_wb", "synchrony"):
        for system in (DEFAULT, FLOOR):
            value = found.get(system, {}).get(metric)
            sign = "+" if METRICS[metric].better == "zero" else ""
            cells.append("—" if value is None else f"{value:{sign}.{METRICS[metric].decimals}f}")
    return cells
