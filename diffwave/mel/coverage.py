"""What no band covers: below ``f_min`` and above ``f_max`` a mel says nothing, and little on the outer flanks.

Left to themselves those bins keep whatever an iteration began with, and drift: they are multiplied by what the
outermost band needs, and nothing pulls them back. So the filterbank is completed by one band on each side, which lies
over the outer flank and all beyond it, and what it should hold is taken from its neighbour: the envelope goes on,
softer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffwave.config import MelConfig
from diffwave.mel.spectrogram import band_corners, bin_frequencies, mel_filterbank

# Nepers from the mean magnitude of the outermost band to that beyond it. Below, softer than recordings have it
# (LibriSpeech -.4, LJSpeech -1.1 below 80 Hz): a rumble in the wrong place is heard more than one that is missed. Of
# -.8 to -4, -2 left the edge within 2 dB of the recording and had the best PESQ.
_BELOW = -2.0
# Above, it falls with the octaves that are left: LibriSpeech -.1 from 7600 to 8000 Hz, LJSpeech -.6 from 8 to 11 kHz in
# the mean over frames, and -.9 in fricatives, which are what is heard there.
_ABOVE, _PER_OCTAVE = -0.1, -1.2


@dataclass(frozen=True, eq=False)
class Coverage:
    """A filterbank that covers every bin, and the goals of what was added.

    Args:
        filterbank: shape ``[M', K]``.
        below, above: what to add to the logarithm of the outermost bands for that of the bands beyond, in nepers; None
            where no band was added.
    """

    filterbank: Tensor
    below: float | None
    above: float | None

    def complete(self, goal: Tensor) -> Tensor:
        """Natural logarithms of band magnitudes ``[B, F, M]`` with those beyond, ``[B, F, M']``."""
        parts = [goal]
        if self.below is not None:
            parts.insert(0, goal[..., :1] + self.below)
        if self.above is not None:
            parts.append(goal[..., -1:] + self.above)
        return goal if len(parts) == 1 else torch.cat(parts, dim=-1)


def cover(config: MelConfig) -> Coverage:
    """Complete a convention's filterbank where more than the very first or last bin is left out."""
    inner = mel_filterbank(config)
    covered = (inner.sum(dim=0) > 1e-8).nonzero()
    rows, below, above = [inner], None, None
    corners, bins = band_corners(config), bin_frequencies(config)
    squared = config.spectrum == "power"
    if int(covered[0]) > 1:
        rows.insert(0, _flank(config, (corners[1] - bins) / (corners[1] - corners[0]), corners[:3]))
        below = _BELOW * (1 + squared) + _wider(rows[0], inner[0])
    if int(covered[-1]) < inner.shape[1] - 2:
        rows.append(_flank(config, (bins - corners[-2]) / (corners[-1] - corners[-2]), corners[-3:]))
        softer = _ABOVE + _PER_OCTAVE * math.log2(config.sample_rate / 2 / config.f_max)
        above = softer * (1 + squared) + _wider(rows[-1], inner[-1])
    return Coverage(inner if len(rows) == 1 else torch.cat(rows).contiguous(), below, above)


def _flank(config: MelConfig, rising: Tensor, corners: Tensor) -> Tensor:
    """What the outermost triangle leaves of a level as high as its top, ``[1, K]``."""
    height = float(2 / (corners[2] - corners[0])) if config.mel_norm == "slaney" else 1.0
    return (rising.clamp(0, 1) * height).float().unsqueeze(0)


def _wider(row: Tensor, neighbour: Tensor) -> float:
    return float((row.sum() / neighbour.sum().clamp_min(1e-8)).log())
