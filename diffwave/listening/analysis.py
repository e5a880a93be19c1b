"""What the answers say, with and without the listeners that the screening leaves out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diffwave.listening.answer_scores import SCALES
from diffwave.listening.comparisons import Comparison, comparisons
from diffwave.listening.formats import BS1116
from diffwave.listening.ratings import Answers, PairChoice, Rating
from diffwave.listening.screening import Outlier, Verdict, outliers, screen
from diffwave.listening.system_scores import (
    ItemScore,
    SystemDifference,
    SystemScore,
    by_system,
    differences,
    item_scores,
    system_score,
)


@dataclass(frozen=True)
class ListeningOutcome:
    """The statistics of one group of listeners; what does not belong to the method is empty."""

    listeners: int
    answers: int
    systems: tuple[SystemScore, ...]
    differences: tuple[SystemDifference, ...]
    items: tuple[ItemScore, ...]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Analysis:
    """Everything that is said of a test.

    Args:
        answers: the data.
        verdicts: of the screening.
        outliers: to be examined (mushra only).
        everybody, screened: the statistics with and without the excluded listeners; ``screened`` is None if nobody
            is left.
    """

    answers: Answers
    verdicts: tuple[Verdict, ...]
    outliers: tuple[Outlier, ...]
    everybody: ListeningOutcome
    screened: ListeningOutcome | None

    @property
    def excluded(self) -> frozenset[str]:
        """Names of the listeners that the screening leaves out."""
        return frozenset(verdict.listener for verdict in self.verdicts if verdict.excluded)


def analyze(answers: Answers) -> Analysis:
    """Screen the listeners and compute all statistics with and without them."""
    verdicts = screen(answers)
    excluded = {verdict.listener for verdict in verdicts if verdict.excluded}
    everybody = _outcome(answers, answers.ratings, answers.choices)
    screened: ListeningOutcome | None = everybody
    if excluded:
        ratings = [r for r in answers.ratings if r.listener not in excluded]
        choices = [c for c in answers.choices if c.listener not in excluded]
        screened = _outcome(answers, ratings, choices) if ratings or choices else None
    found = outliers(answers.ratings) if answers.method == "mushra" else ()
    return Analysis(answers, verdicts, found, everybody, screened)


def _outcome(answers: Answers, ratings: Sequence[Rating], choices: Sequence[PairChoice]) -> ListeningOutcome:
    groups = by_system(ratings, answers.systems)
    scale = (-4.0, 4.0) if answers.method == BS1116 else SCALES.get(answers.method, (-math.inf, math.inf))
    return ListeningOutcome(
        listeners=len({r.listener for r in ratings} | {c.listener for c in choices}),
        answers=len(ratings) + len(choices),
        systems=tuple(system_score(group, scale) for group in groups.values()),
        differences=differences(groups),
        items=item_scores(groups, scale),
        comparisons=comparisons(answers.method, choices),
    )
