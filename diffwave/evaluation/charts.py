"""Pictures of the report: intervals, distributions, and pairs of spectrograms on one colour scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from diffwave.evaluation.findings import Results, floors
from diffwave.evaluation.metrics import RECORD, Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLORS = ("#24577a", "#a2432d", "#4f7a28", "#7a4f9a", "#b07c10", "#267d7a")
_FLOOR_COLOR = "#8a949e"
_COLUMNS = 3
_RANGE_DB = 80.0
_N_FFT, _HOP = 512, 128


def _figure(width: float, height: float) -> Figure:
    # The object interface, not pyplot: no global state, no window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # The padding keeps titles clear of the axis above.
    figure = Figure(figsize=(width, height), dpi=110, layout=ConstrainedLayoutEngine(h_pad=0.09))
    FigureCanvasAgg(figure)
    return figure


def _panels(results: Results, metrics: list[Metric]) -> tuple[Figure, list[Any]]:
    """A figure with one panel per metric, side by side."""
    rows = max(1, math.ceil(len(metrics) / _COLUMNS))
    figure = _figure(11.5, rows * (0.85 + 0.34 * len(results.systems)))
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for panel in axes[len(metrics) :]:
        panel.set_visible(False)
    return figure, list(axes)


def _shown(results: Results) -> list[Metric]:
    """Computed metrics that some system has a score of."""
    able = [metric for metric in results.metrics if metric.better and metric.kind != RECORD]
    return [metric for metric in able if any(results.values(system.name, metric.name) for system in results.systems)]


def _colors(results: Results) -> list[str]:
    own = iter(_COLORS * (1 + len(results.systems) // len(_COLORS)))
    under = floors(results.systems)
    return [_FLOOR_COLOR if system.name in under else next(own) for system in results.systems]


def _label_panel(panel: Any, results: Results, metric: Metric, first: bool) -> None:
    panel.set_yticks(range(len(results.systems)))
    panel.set_yticklabels([s.name for s in results.systems] if first else [""] * len(results.systems), fontsize=9)
    panel.set_ylim(len(results.systems) - 0.4, -0.6)
    arrow = {"higher": "  (higher is better)", "lower": "  (lower is better)", "zero": "  (zero is best)"}
    panel.set_title(metric.label + arrow[metric.better], fontsize=9, loc="left")
    panel.tick_params(axis="x", labelsize=8)
    panel.grid(axis="x", color="#e3e7eb", linewidth=0.7)
    panel.set_axisbelow(True)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    panel.tick_params(axis="y", length=0)


def intervals(results: Results, summary: dict[str, Any]) -> Figure:
    """Mean and interval of every system, a panel for each metric."""
    metrics = _shown(results)
    figure, axes = _panels(results, metrics)
    for index, metric in enumerate(metrics):
        for place, (system, color) in enumerate(zip(summary["systems"], _colors(results), strict=True)):
            score = system["scores"][metric.name]
            if not score["n"]:
                continue
            if score["low"] is not None:
                axes[index].plot([score["low"], score["high"]], [place, place], color=color, linewidth=2.2)
            axes[index].plot([score["mean"]], [place], "o", color=color, markersize=6)
        _label_panel(axes[index], results, metric, first=index % _COLUMNS == 0)
    return figure


def distributions(results: Results) -> Figure:
    """Box and points of every system, a panel for each metric."""
    metrics = _shown(results)
    figure, axes = _panels(results, metrics)
    rng = np.random.default_rng(0)
    for index, metric in enumerate(metrics):
        for place, (system, color) in enumerate(zip(results.systems, _colors(results), strict=True)):
            values = np.array(list(results.values(system.name, metric.name).values()))
            if not len(values):
                continue
            shown = values if len(values) <= 1000 else rng.choice(values, 1000, replace=False)
            scatter = place + rng.uniform(-0.22, 0.22, len(shown))
            axes[index].plot(shown, scatter, ".", color=color, alpha=0.35, markersize=3.5, markeredgewidth=0)
            box = {"color": color, "linewidth": 1.2}
            axes[index].boxplot(
                values, positions=[place], orientation="horizontal", widths=0.55, showfliers=False,
                boxprops=box, whiskerprops=box, capprops=box, medianprops={"color": color, "linewidth": 2.2},
            )  # fmt: skip
        _label_panel(axes[index], results, metric, first=index % _COLUMNS == 0)
    return figure


def spectrograms(wavs: list[np.ndarray], sample_rate: int, titles: list[str]) -> Figure:
    """Spectrograms of waveforms ``[N]``, side by side on one colour scale."""
    figure = _figure(11.5, 2.5)
    axes = figure.subplots(1, len(wavs), sharey=True, squeeze=False)[0]
    pictures = [_spectrogram(wav) for wav in wavs]
    # One scale, set by the reference: what differs in colour differs in level.
    top = float(pictures[0].max())
    for panel, picture, wav, title in zip(axes, pictures, wavs, titles, strict=True):
        image = panel.imshow(
            picture,
            origin="lower",
            aspect="auto",
            extent=(0, len(wav) / sample_rate, 0, sample_rate / 2000),
            vmin=top - _RANGE_DB,
            vmax=top,
            cmap="magma",
            interpolation="nearest",
        )
        panel.set_title(title, fontsize=9, loc="left")
        panel.set_xlabel("s", fontsize=8)
        panel.tick_params(labelsize=8)
    axes[0].set_ylabel("kHz", fontsize=8)
    figure.colorbar(image, ax=list(axes), label="dB", pad=0.01)
    return figure


def _spectrogram(wav: np.ndarray) -> np.ndarray:
    """Level in dB, ``[257, frames]``."""
    padded = np.pad(wav, _N_FFT // 2)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::_HOP]
    spectrum = np.fft.rfft(pieces * np.hanning(_N_FFT))
    level: np.ndarray = 20 * np.log10(np.abs(spectrum).T + 1e-6)
    return level
