"""What a network sounds like in the middle of a run: the same utterances, from the same noise, every time.

Outputs are made by the network alone, without mel consistency, because it is the network that is being watched. Nothing
here may change the training that it watches: no global random numbers are drawn, and what can end its process runs in
another one.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffwave.audio.file import write_wav
from diffwave.checkpoint.folder import Checkpoint
from diffwave.corpus.manifest import Utterance
from diffwave.training.crops import read_segment
from diffwave.files import atomic_path, write_text
from diffwave.training.outputs.picture import draw
from diffwave.evaluation.scored_apart import score
from diffwave.vocoder import Vocoder
from diffwave.web.page import png

log = logging.getLogger(__name__)

FIGURES = ("pesq_wb", "mel_distance", "band_synchrony")
PICTURE, DOCUMENT = "spectrograms.png", "outputs.json"
_SEED = 0
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


class OutputMaker:
    """Makes outputs of the same utterances again and again.

    Args:
        utterances: to be spoken, at the model's rate. They are read here, so that a missing one is noticed before the
            training and not in its middle.
        seconds: how much of the middle of each is taken, at most.

    Raises:
        DataError: if an utterance cannot be read.
    """

    def __init__(self, utterances: Sequence[Utterance], seconds: float = 6.0) -> None:
        self._clips = [(each.path.stem, each.sample_rate, _middle(each, seconds)) for each in utterances]

    def make(self, checkpoint: Checkpoint, device: torch.device) -> list[Output]:
        """Speak and score every utterance.

        Args:
            checkpoint: the network, and the sampler that it is used with.
            device: that the network runs on; the CPU takes over if its memory does not suffice.

        Raises:
            ValueError: if the model is for another sample rate.
        """
        try:
            spoken = self._speak(checkpoint, device)
        except torch.OutOfMemoryError:
            spoken = []
        if not spoken and self._clips:  # not inside except, whose traceback still holds what fills the memory
            log.warning("outputs: %s has no memory left for them beside the training; made on the CPU", device)
            spoken = self._speak(checkpoint, torch.device("cpu"))
        heard = [(each.name, each.reference, each.wav) for each in spoken]
        scores = score(heard, checkpoint.config.mel.sample_rate)
        return [
            Output(each.name, each.wav, each.reference, row.get("pesq_wb"), each.mel_distance, row.get("synchrony"))
            for each, row in zip(spoken, scores, strict=True)
        ]

    def _speak(self, checkpoint: Checkpoint, device: torch.device) -> list[_Spoken]:
        rate = checkpoint.config.mel.sample_rate
        # Building a network draws initial weights from the global generator, on the CPU.
        with torch.random.fork_rng(devices=[]):
            vocoder = Vocoder(checkpoint, device)
        spoken = []
        for name, own_rate, clip in self._clips:
            if own_rate != rate:
                raise ValueError(f"{name}: expected audio at the model's {rate} Hz; got {own_rate} Hz")
            spoken.append(_speak(vocoder, name, clip))
        return spoken


@dataclass(frozen=True, eq=False)
class _Spoken:
    """An output before it is scored by others."""

    name: str
    wav: Tensor
    reference: Tensor
    mel_distance: float


def _speak(vocoder: Vocoder, name: str, clip: Tensor) -> _Spoken:
    """Analyse and synthesize a recording ``[N]``, cut to whole frames."""
    hop = vocoder.hop_length
    reference = clip[: max(len(clip) // hop, 1) * hop]
    mel = vocoder.mel(reference)  # a recording shorter than a frame is padded to one
    wav = vocoder.synthesize(mel, seed=_SEED, consistency=0)[: len(reference)]
    if not bool(torch.isfinite(wav).all()):
        log.warning("outputs: %s: the network's output is not finite", name)
        return _Spoken(name, torch.zeros_like(reference), reference, math.nan)
    distance = (_natural_log(vocoder, vocoder.mel(wav)) - _natural_log(vocoder, mel)).abs().mean()
    # A clone outside of inference mode is an ordinary tensor.
    return _Spoken(name, wav.cpu().clone(), reference, float(distance))


def _natural_log(vocoder: Vocoder, mel: Tensor) -> Tensor:
    """A log-mel of the model's convention in nat."""
    return vocoder.front_end.expand(mel).log()


def _middle(utterance: Utterance, seconds: float) -> Tensor:
    """The middle of an utterance, ``[N]``."""
    length = min(max(round(seconds * utterance.sample_rate), 1), utterance.samples)
    return read_segment(utterance, (utterance.samples - length) // 2, length)


def summary(outputs: Sequence[Output]) -> dict[str, float]:
    """Mean of each figure over the utterances that have it; a figure that none of them has is left out."""
    columns = {name: [_figure(output, name) for output in outputs] for name in FIGURES}
    found = {name: [value for value in values if value is not None] for name, values in columns.items()}
    return {name: math.fsum(values) / len(values) for name, values in found.items() if values}


def _figure(output: Output, name: str) -> float | None:
    value: float | None = getattr(output, name)
    return value if value is not None and math.isfinite(value) else None


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
    names, rows = safe_names([output.name for output in outputs]), []
    for output, name in zip(outputs, names, strict=True):
        files = {"output": f"{name}.wav", "reference": f"{name}.reference.wav"}
        write_wav(folder / files["output"], output.wav, sample_rate)
        write_wav(folder / files["reference"], output.reference, sample_rate)
        rows.append({"name": output.name, **files, **{figure: _figure(output, figure) for figure in FIGURES}})
    with atomic_path(folder / PICTURE) as temporary:
        temporary.write_bytes(png(draw(outputs, names, sample_rate)))
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
