"""Mels that differ in how they are written down alone: from one convention to another, exactly."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from diffwave.config import MelConfig
from diffwave.mel.logarithms import from_nepers
from diffwave.mel.spectrogram import MelSpectrogram, levelling

# What is only a matter of writing; of HiFi-GAN's epsilon nothing is left above the floor.
_WRITING = ("mel_norm", "stft_normalized", "magnitude_epsilon", "log", "floor", "floor_added", "mean", "scale")


def converts(theirs: MelConfig, ours: MelConfig) -> bool:
    """Whether mels of one convention become those of another without loss.

    A floor above ours hides what lies below, and so does the clipping of ``db01``.
    """
    if replace(theirs, **{name: getattr(ours, name) for name in _WRITING}) != ours:
        return False
    lost = math.log(theirs.floor) + float(levelling(theirs, ours).max()) > math.log(ours.floor) + 1e-6
    return not lost and "db01" not in (theirs.log, ours.log)


class Conversion:
    """From one convention to another.

    Args:
        theirs, ours: for which :func:`converts` holds.
    """

    def __init__(self, theirs: MelSpectrogram, ours: MelSpectrogram) -> None:
        self.theirs, self.ours = theirs, ours
        self._gain = levelling(theirs.config, ours.config)  # [M, 1]

    def __call__(self, mel: Tensor) -> Tensor:
        """``[B, M, F]`` to the same, float32."""
        # In float64, so that numbers that come back to the logarithm they had are the same to the bit.
        theirs, ours = self.theirs, self.ours
        nepers = theirs.nepers(mel.double())
        if theirs.config.floor_added:
            nepers = theirs.expand(mel.double()).clamp_min(ours.config.floor).log()
        nepers = (nepers + self._gain.to(nepers)).clamp_min(math.log(ours.config.floor))
        return ours.standardise(from_nepers(nepers, ours.config.log)).float()
