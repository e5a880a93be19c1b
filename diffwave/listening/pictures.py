"""Pictures of an analysis: systems or pairs below each other, their means, intervals and listeners."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diffwave.evaluation.statistics import Interval, cluster_means
from diffwave.listening.analysis import Analysis
from diffwave.listening.analysis_documents import MEASURES, number, without
from diffwave.listening.answer_scores import SCALES
from diffwave.listening.design import SYSTEM

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SYSTEM_COLOR, _OTHER_COLOR, _EXCLUDED_COLOR = "#24577a", "#7b8794", "#a2432d"


@dataclass(frozen=True)
class _Row:
    """One line of the picture.

    Args:
        label: what stands beside it.
        color: of the mean.
        shown, everybody: mean and interval after screening and before.
        listeners: means of the listeners that are shown, ``[n]``.
    """

    label: str
    color: str
    shown: Interval
    everybody: Interval
    listeners: np.ndarray


def draw_scores(analysis: Analysis) -> Figure:
    """Draw means with intervals; small dots are listeners, hollow marks the means before screening."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _score_rows(analysis) if analysis.answers.ratings else _comparison_rows(analysis)
    excluded = bool(analysis.excluded) and analysis.screened is not None
    figure = Figure(figsize=(5.7, 1.0 + 0.5 * len(rows)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for place, row in enumerate(rows):
        _draw_row(axes, place, row, excluded)
    _frame(axes, analysis.answers.method, rows)
    return figure


def _draw_row(axes: Any, place: int, row: _Row, excluded: bool) -> None:
    # A fixed spread, not a random one: the same data give the same picture.
    spread = place + 0.24 + 0.05 * (np.arange(len(row.listeners)) % 3 - 1)
    axes.plot(row.listeners, spread, ".", color=row.color, alpha=0.35, markersize=5, markeredgewidth=0)
    axes.plot([row.shown.low, row.shown.high], [place, place], color=row.color, linewidth=2.6, solid_capstyle="butt")
    axes.plot(row.shown.mean, place, "o", color=row.color, markersize=7)
    if excluded:
        bounds = [row.everybody.low, row.everybody.high]
        axes.plot(bounds, [place - 0.24] * 2, color=_EXCLUDED_COLOR, linewidth=1.2, alpha=0.8)
        axes.plot(row.everybody.mean, place - 0.24, "o", color=_EXCLUDED_COLOR, markerfacecolor="white", markersize=5)


def _frame(axes: Any, method: str, rows: Sequence[_Row]) -> None:
    """Axis, grid and labels."""
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xlabel(MEASURES[method])
    if method in ("mushra", "acr"):
        low, high = SCALES[method]
        axes.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
    elif method == "cmos":
        widest = max(1.0, *(np.nanmax(np.abs([r.shown.low, r.shown.high, *r.listeners])) for r in rows))
        axes.set_xlim(-1.05 * widest, 1.05 * widest)
    elif method != "bs1116":
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    nothing = {"cmos": 0.0, "bs1116": 0.0, "ab": 0.5, "abx": 0.5, "detection": 0.5}.get(method)
    if nothing is not None:
        axes.axvline(nothing, color="#1d2329", linewidth=0.9, zorder=0)
    axes.grid(axis="x", color="#d8dee4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _score_rows(analysis: Analysis) -> list[_Row]:
    means: dict[str, tuple[list[float], list[str]]] = defaultdict(lambda: ([], []))
    hidden = analysis.excluded if analysis.screened else frozenset()
    for rating in analysis.answers.ratings:
        if rating.listener not in hidden:
            means[rating.system][0].append(rating.score)
            means[rating.system][1].append(rating.listener)
    everybody = {score.system: score.mean for score in analysis.everybody.systems}
    return [
        _Row(
            f"{score.system}\n{number(analysis.answers.method)(score.mean.mean)}",
            _SYSTEM_COLOR if score.kind == SYSTEM else _OTHER_COLOR,
            score.mean,
            everybody[score.system],
            cluster_means(np.array(means[score.system][0]), means[score.system][1]),
        )
        for score in without(analysis).systems
    ]


def _comparison_rows(analysis: Analysis) -> list[_Row]:
    method = analysis.answers.method
    means: dict[tuple[str, str], tuple[list[float], list[str]]] = defaultdict(lambda: ([], []))
    hidden = analysis.excluded if analysis.screened else frozenset()
    for choice in analysis.answers.choices:
        if choice.listener not in hidden and not np.isnan(choice.score):
            means[choice.first, choice.second][0].append(choice.score)
            means[choice.first, choice.second][1].append(choice.listener)
    everybody = {(c.first, c.second): c.mean for c in analysis.everybody.comparisons}
    rows = []
    for c in without(analysis).comparisons:
        scores, listeners = means[c.first, c.second]
        dots = cluster_means(np.array(scores), listeners) if scores else np.array([])
        label = f"{c.first}\nagainst {c.second}: {number(method)(c.mean.mean)}"
        rows.append(_Row(label, _SYSTEM_COLOR, c.mean, everybody[c.first, c.second], dots))
    return rows
