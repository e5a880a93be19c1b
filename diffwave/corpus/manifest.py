"""Manifests: one utterance a line, in JSON, as NeMo and others write them.

``{"audio_filepath": "/data/103-1240-0000.flac", "duration": 14.085, "speaker": "103", "subset":
"train-clean-100", "sha256": "9f2c...", "sample_rate": 16000}``: duration in seconds, a path that is not absolute
starts at the manifest's folder. Other keys are allowed and ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffwave.config import ConfigError
from diffwave.files import write_text

_MOST_SAMPLES = 2**40
_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "audio_filepath": str,
    "duration": (int, float),
    "speaker": str,
    "sample_rate": int,
}


@dataclass(frozen=True)
class Utterance:
    """One line of a manifest.

    Args:
        path: of the audio file.
        samples: length, in samples of its own rate.
        sample_rate: in Hz.
        speaker: who speaks.
        subset: part of the corpus, such as ``train-clean-100``; empty if the corpus has none.
        sha256: of the file, in hexadecimal; empty if it was not computed.
    """

    path: Path
    samples: int
    sample_rate: int
    speaker: str
    subset: str = ""
    sha256: str = ""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate


def hours(utterances: Iterable[Utterance]) -> float:
    """Length of all utterances together, in hours."""
    return sum(utterance.seconds for utterance in utterances) / 3600


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write one line for each utterance, atomically."""
    write_text(path, "".join(json.dumps(_document(utterance)) + "\n" for utterance in utterances))


def read_manifest(path: Path) -> list[Utterance]:
    """Read a manifest; audio files are not opened.

    Raises:
        ConfigError: if the file cannot be read or a line is no utterance; the message has the line's number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{path}: expected a manifest, JSON lines in UTF-8; {reason}") from None
    utterances = [
        _utterance(line, path.parent, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()
    ]
    if not utterances:
        raise ConfigError(f"{path}: expected a manifest with one utterance a line; it is empty")
    return utterances


def _document(utterance: Utterance) -> dict[str, Any]:
    return {
        "audio_filepath": str(utterance.path),
        "duration": utterance.seconds,
        "speaker": utterance.speaker,
        "subset": utterance.subset,
        "sha256": utterance.sha256,
        "sample_rate": utterance.sample_rate,
    }


def _utterance(line: str, folder: Path, place: str) -> Utterance:
    try:
        document = json.loads(line)
        line.encode()  # a lone surrogate is no text
    except (ValueError, RecursionError):
        raise ConfigError(f"{place}: expected an utterance in JSON; got {line[:60]!r}") from None
    for key, kind in _REQUIRED.items():
        value = document.get(key) if isinstance(document, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ConfigError(f"{place}: expected {', '.join(_REQUIRED)}; {key} is {value!r}")
    # The shortest text of a float64 gives the same float64 back, so rounding finds the very sample.
    length = document["duration"] * document["sample_rate"]
    if not 0.5 < length < _MOST_SAMPLES:
        raise ConfigError(f"{place}: expected a positive duration and sample_rate; got {length} samples")
    samples = round(length)
    return Utterance(
        folder / document["audio_filepath"],
        samples,
        document["sample_rate"],
        document["speaker"],
        str(document.get("subset", "")),
        str(document.get("sha256", "")),
    )
