"""Utterances of the report: each system's worst, middle and best, to look at and to listen to."""

from __future__ import annotations

import numpy as np

from diffwave.audio.checks import AudioError
from diffwave.evaluation import charts
from diffwave.evaluation.findings import Results, ScoredPair, floors
from diffwave.evaluation.metrics import RECORD, SAMPLE_RATE, Metric
from diffwave.evaluation.pairs import Pair
from diffwave.evaluation.scoring import Loading, MismatchError, load_pair
from diffwave.web import page

_LONGEST = 15.0  # s shown and played


def examples(results: Results) -> list[str]:
    """Sections of HTML, one per system."""
    metric = _ranking(results)
    if metric is None:
        return []
    parts = [
        page.heading("Utterances"),
        page.paragraph(
            f"Ranked by {metric.label}. Both spectrograms of a pair share one colour scale, set by the reference.",
            "soft",
        ),
    ]
    for system in results.systems:
        cards = [_card(results, row, word) for word, row in _chosen(results.rows[system.name], metric)]
        if not cards:
            continue
        title = page.escape(system.name)
        opened = "" if system.name in floors(results.systems) else " open"
        parts.append(f"<details{opened}><summary><b>{title}</b></summary>{''.join(cards)}</details>")
    return parts


def _ranking(results: Results) -> Metric | None:
    """PESQ if it was computed, else the first metric in which better means something."""
    able = [metric for metric in results.metrics if metric.better and metric.kind != RECORD]
    return next((metric for metric in able if metric.name == "pesq_wb"), able[0] if able else None)


def _chosen(rows: list[ScoredPair], metric: Metric) -> list[tuple[str, ScoredPair]]:
    """Worst, middle and best row; fewer if there are fewer."""

    def badness(row: ScoredPair) -> float:
        value = row.outcome.scores[metric.name]
        return {"higher": -value, "lower": value, "zero": abs(value)}[metric.better]

    ranked = sorted((row for row in rows if metric.name in row.outcome.scores), key=badness, reverse=True)
    if not ranked:
        return []
    places = {"worst": 0, "middle": (len(ranked) - 1) // 2, "best": len(ranked) - 1}
    unique: dict[int, str] = {}
    for word, place in places.items():
        unique.setdefault(place, word)
    return [(word, ranked[place]) for place, word in unique.items()]


def _card(results: Results, row: ScoredPair, word: str) -> str:
    """An utterance: its scores, two players, two spectrograms."""
    title = f"{word}: {row.pair.utterance}"
    scores = ", ".join(
        f"{m.label} {row.outcome.scores[m.name]:.{m.decimals}f}"
        for m in results.metrics
        if m.name in row.outcome.scores
    )
    try:
        wavs = _read(row.pair)
    except (AudioError, MismatchError) as error:
        return page.heading(title, 3) + page.paragraph(str(error), "warn")
    figure = charts.spectrograms(wavs, SAMPLE_RATE, ["reference", row.pair.system])
    players = "".join(
        f'<div class="card"><small>{name}</small>{page.player(wav, SAMPLE_RATE, name)}</div>'
        for name, wav in zip(("reference", "estimate"), wavs, strict=True)
    )
    return (
        page.heading(title, 3)
        + page.paragraph(scores, "soft")
        + f'<div class="cards">{players}</div>'
        + page.picture(figure, f"Spectrograms of the reference and of {row.pair.system}, {row.pair.utterance}")
    )


def _read(pair: Pair) -> list[np.ndarray]:
    # Files were comparable when they were scored, perhaps with --resample and another tolerance.
    reference, estimate, _ = load_pair(pair.reference, pair.estimate, Loading(resample=True, tolerance=float("inf")))
    longest = int(_LONGEST * SAMPLE_RATE)
    return [reference[:longest], estimate[:longest]]
