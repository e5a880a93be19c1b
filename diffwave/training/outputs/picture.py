"""Picture of the outputs of a run: each reference above its output, on one colour scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from diffwave.dsp.stft import FrameGeometry, stft

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FRAMES = FrameGeometry(n_fft=512, hop_length=128, win_length=512)
_RANGE_DB = 80.0
_COLUMNS = 2
_WIDTH, _HEIGHT = 6.2, 3.7  # inches of an utterance
_INK = "#5c6873"


class Panels(NamedTuple):
    """Two spectrograms of an utterance under a title."""

    title: str
    reference: Tensor  # [N]
    output: Tensor  # [N]


def draw(utterances: Sequence[Panels], sample_rate: int) -> Figure:
    """Draw the spectrograms of each utterance.

    Args:
        utterances: at least one.
        sample_rate: in Hz.
    """
    # The object interface, not pyplot: no global state, no window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(utterances))
    rows = math.ceil(len(utterances) / columns)
    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(rows, columns, squeeze=False, wspace=0.02, hspace=0.04).ravel()
    for part, utterance in zip(parts, utterances, strict=False):
        _draw_pair(part, utterance, sample_rate)
    return figure


def _draw_pair(part: Any, utterance: Panels, sample_rate: int) -> None:
    """Draw an utterance into a part of the figure."""
    part.suptitle(utterance.title, fontsize=10, x=0.01, ha="left")
    axes = part.subplots(2, 1, sharex=True)
    levels = [_level(wav) for wav in (utterance.reference, utterance.output)]
    top = float(levels[0].max())  # both relative to the reference: what differs in colour differs in level
    seconds = len(utterance.output) / sample_rate
    for panel, level, label in zip(axes, levels, ("reference", "output"), strict=True):
        image = panel.imshow(
            (level - top).numpy(),
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, sample_rate / 2000),
            vmin=-_RANGE_DB,
            vmax=0,
            cmap="magma",
            interpolation="nearest",
        )
        panel.set_title(label, fontsize=8.5, loc="left", color=_INK, pad=2)
        panel.set_ylabel("kHz", fontsize=8, color=_INK)
        panel.tick_params(labelsize=8, length=2, colors=_INK)
        for side in panel.spines.values():
            side.set_visible(False)
    axes[1].set_xlabel("s", fontsize=8, color=_INK, labelpad=1)
    scale = part.colorbar(image, ax=list(axes), pad=0.01, aspect=32)
    scale.outline.set_visible(False)
    scale.ax.tick_params(labelsize=7, length=2, colors=_INK)
    scale.set_label("dB", fontsize=8, color=_INK, labelpad=1)


def _level(wav: Tensor) -> Tensor:
    """Spectrogram of ``[N]`` in dB, ``[257, frames]``."""
    hop = _FRAMES.hop_length
    padded = torch.nn.functional.pad(wav.float(), (0, -len(wav) % hop))
    return 20 * stft(padded[None], _FRAMES)[0].abs().clamp_min(1e-6).log10()
