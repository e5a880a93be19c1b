"""Pictures: what diffusion does to speech."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffwave.errors import InputError, reason
from diffwave.files import atomic_path, write_text
from diffwave.rendering.diffusion_states import DiffusionStory

_N_FFT = 512
_HOP = 128
_RANGE_DB = 80.0
_WAVE_COLORS = ("#24577a", "#a2432d")


def check_target(output: Path, force: bool) -> None:
    """Complain of a place for the picture before the work, not after.

    Raises:
        InputError: if it cannot be written, or is there and may not be replaced.
    """
    if output.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"--output {output}: expected a .png, .svg or .pdf file")
    if not output.parent.is_dir():
        raise InputError(f"--output {output}: expected an existing folder; {output.parent} is none")
    for path in (output, output.with_suffix(".json")):
        if path.is_dir():
            raise InputError(f"--output {output}: expected to write {path}; it is a folder")
        if path.exists() and not force:
            raise InputError(f"--output {output}: {path} exists; --force replaces it")


def write_story(story: DiffusionStory, output: Path) -> None:
    """Write the picture and, beside it, the numbers behind it as JSON.

    Raises:
        InputError: if that fails; a picture that was there stays then.
    """
    try:
        with atomic_path(output) as temporary:
            draw_story(story, temporary)
        write_text(output.with_suffix(".json"), json.dumps(story.figures(), indent=2) + "\n")
    except OSError as error:
        raise InputError(f"--output {output}: cannot be written; {reason(error)}") from None


def draw_story(story: DiffusionStory, path: Path) -> None:
    """Draw waveform and spectrogram at every level; forward process above, reverse process below."""
    # The object interface, not pyplot: no global state, no window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    levels = len(story.alpha_bars)
    figure = Figure(figsize=(2.3 * levels, 7.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, hspace=0.04)
    upper, lower = parts
    upper.suptitle("Forward process: speech becomes noise  →", fontsize=13, x=0.01, ha="left")
    lower.suptitle("←  Reverse process: noise becomes speech", fontsize=13, x=0.01, ha="left")
    top = _spectrogram(story.forward[0]).max()
    rows = ((upper, story.forward, "clean"), (lower, story.backward, story.outcome))
    for (part, states, first), color in zip(rows, _WAVE_COLORS, strict=True):
        axes = part.subplots(2, levels, sharex=True, sharey="row", height_ratios=(1, 1.9))
        for index, state in enumerate(states):
            axes[0, index].set_title(_level_title(story, index) or first, fontsize=9)
            _draw_level(axes[0, index], axes[1, index], state, story.sample_rate, color, float(top))
        peak = max(float(state.abs().max()) for state in states)
        axes[0, 0].set_ylim(-1.05 * peak, 1.05 * peak)
        axes[1, 0].set_ylabel("kHz")
    figure.savefig(path)


def _draw_level(wave: Any, spectrum: Any, state: Tensor, sample_rate: int, color: str, top: float) -> None:
    """Draw one state ``[N]`` into a pair of axes."""
    seconds = len(state) / sample_rate
    time = np.arange(len(state)) / sample_rate
    wave.plot(time, state.numpy(), linewidth=0.35, color=color)
    wave.tick_params(labelsize=7, length=2)
    for side in ("top", "right", "bottom"):
        wave.spines[side].set_visible(False)
    spectrum.imshow(
        _spectrogram(state),
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, sample_rate / 2000),
        vmin=top - _RANGE_DB,
        vmax=top,
        cmap="magma",
        interpolation="nearest",
    )
    spectrum.set_xlabel("s", fontsize=8, labelpad=1)
    spectrum.tick_params(labelsize=7, length=2)


def _level_title(story: DiffusionStory, index: int) -> str:
    """What a noise level is called; the level without noise has another name in each row."""
    if index == 0:
        return ""
    step, alpha_bar = story.steps[index], story.alpha_bars[index]
    return f"step {step:.4g}\nsignal {100 * alpha_bar:.3g} %"


def _spectrogram(wav: Tensor) -> np.ndarray:
    """Magnitude in dB, ``[_N_FFT / 2 + 1, frames]``."""
    spectrum = torch.stft(wav, _N_FFT, _HOP, window=torch.hann_window(_N_FFT), return_complex=True, pad_mode="constant")
    decibel: np.ndarray = (20 * spectrum.abs().clamp_min(1e-7).log10()).numpy()
    return decibel
