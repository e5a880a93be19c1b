"""What a network sounds like in the middle of a run: the same utterances, from the same noise, every time.

Outputs are made by the network alone, without mel consistency, because it is the network that is being watched. Nothing
here may change the training that it watches: no global random numbers are drawn, and what can end its process runs in
another one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffwave.checkpoint.folder import Checkpoint
from diffwave.corpus.manifest import Utterance
from diffwave.corpus.segments import read_segment
from diffwave.evaluation.scored_apart import score
from diffwave.training.outputs.output import Output
from diffwave.vocoder import Vocoder

log = logging.getLogger(__name__)

_SEED = 0


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
