"""An output: an utterance as the network speaks it in the middle of a run, its figures, and the files of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from diffwave.audio.file import write_wav
from diffwave.files import atomic_path, write_text
from diffwave.training.outputs.picture import Panels, draw
from diffwave.web.page import png

FIGURES = ("pesq_wb", "mel_distance", "band_synchrony")
PICTURE, DOCUMENT = "spectrograms.png", "outputs.json"
_LONGEST_NAME = 100  # file systems take 255 bytes, suffix included


@dataclass(frozen=True, eq=False)
class Output:
    """One utterance as the network speaks it.

    Args:
        name: of the utterance.
        wav: the output, on the CPU, shape ``[N]``.
        reference: the recording that its mel was made from, on the CPU, shape ``[N]``.
        pesq_wb: PESQ-WB; None where it could not be computed.
        mel_distance: mean absolute difference of the two log-mels, in nat; NaN if the network's output was not finite.
        band_synchrony: above the reference's, as ``evaluate`` defines it; None where it could not be computed.
    """

    name: str
    wav: Tensor
    reference: Tensor
    pesq_wb: float | None
    mel_distance: float
    band_synchrony: float | None

    def figure(self, name: str) -> float | None:
        """One of ``FIGURES``; None where it is missing or not finite."""
        value: float | None = getattr(self, name)
        return value if value is not None and math.isfinite(value) else None

    @property
    def in_words(self) -> str:
        """The figures for people; what is missing is not mentioned."""
        parts = [] if self.pesq_wb is None else [f"PESQ-WB {self.pesq_wb:.2f}"]
        parts.append(f"log-mel {self.mel_distance:.2f} nat")
        parts += [] if self.band_synchrony is None else [f"band synchrony {self.band_synchrony:+.3f}"]
        return ", ".join(parts)


def summary(outputs: Sequence[Output]) -> dict[str, float]:
    """Mean of each figure over the utterances that have it; a figure that none of them has is left out."""
    columns = {name: [output.figure(name) for output in outputs] for name in FIGURES}
    found = {name: [value for value in values if value is not None] for name, values in columns.items()}
    return {name: math.fsum(values) / len(values) for name, values in found.items() if values}


def write_outputs(folder: Path, outputs: Sequence[Output], sample_rate: int) -> None:
    """Write ``NAME.wav`` and ``NAME.reference.wav`` of each output, ``spectrograms.png`` and ``outputs.json``.

    Args:
        folder: is made if missing.
        outputs: at least one.
        sample_rate: in Hz.

    Raises:
        OSError: if the folder cannot be written or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = safe_names([output.name for output in outputs])
    rows, panels = [], []
    for output, name in zip(outputs, names, strict=True):
        files = {"output": f"{name}.wav", "reference": f"{name}.reference.wav"}
        write_wav(folder / files["output"], output.wav, sample_rate)
        write_wav(folder / files["reference"], output.reference, sample_rate)
        rows.append({"name": output.name, **files, **{figure: output.figure(figure) for figure in FIGURES}})
        panels.append(Panels(f"{name}    {output.in_words}", output.reference, output.wav))
    with atomic_path(folder / PICTURE) as temporary:
        temporary.write_bytes(png(draw(panels, sample_rate)))
    # Last, so that a folder with a document has everything that it names.
    document = {"sample_rate": sample_rate, "outputs": rows, "means": summary(outputs)}
    write_text(folder / DOCUMENT, json.dumps(document, indent=1, allow_nan=False) + "\n")


def safe_names(names: Sequence[str]) -> list[str]:
    """Names of files for names of utterances: letters, digits, ``-`` and ``_``, each there once.

    >>> safe_names(["103-1240-0000", "a/b c", "a.b.c"])
    ['103-1240-0000', 'a_b_c', 'a_b_c-2']
    """
    # No dots: an utterance called "x.reference" would write over the reference of "x".
    plain = [re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_LONGEST_NAME] or "utterance" for name in names]
    unique: dict[str, str] = {}
    for name in plain:
        number, chosen = 1, name
        while chosen.lower() in unique:  # some file systems take "A" and "a" for one name
            number += 1
            chosen = f"{name}-{number}"
        unique[chosen.lower()] = chosen
    return list(unique.values())
