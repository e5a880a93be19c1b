"""Which listeners to leave out, and why; decided from their answers alone, and always shown with and without.

MUSHRA follows ITU-R BS.1534-3, section 4.1.2. What it does not cover (no mid anchor in the test, ratings without
anchors, pairs) follows rules of this package, which the verdicts name as such.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from diffwave.listening.design import ANCHOR, ANCHOR35_NAME, REFERENCE
from diffwave.listening.formats import BS1116
from diffwave.listening.ratings import Answers, PairChoice, Rating, Run

A = TypeVar("A", bound=Rating | PairChoice | Run)
MID_ANCHOR_NAME = "anchor70"
LIMIT, MOST_ITEMS, MOST_LISTENERS = 90.0, 0.15, 0.25
# Agreement with the other listeners has to be this sure; a random listener passes with this probability.
_AGREEMENT_P = 0.01
_NO_DIFFERENCE = {"none", "0", "undecided", "unknown"}
_FEWEST_VOTES = 6  # below it, the same answer every time says little
_FEWEST_FOR_AGREEMENT = 20  # below it, honest listeners fail for lack of votes


@dataclass(frozen=True)
class Verdict:
    """What the screening says of a listener.

    Args:
        listener: the name.
        sessions, answers, expected: how much there is, and how much whole sessions would be.
        reasons: for leaving the listener out; empty: stays.
        remarks: what to look at; nothing follows from them.
    """

    listener: str
    sessions: int
    answers: int
    expected: int
    reasons: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def excluded(self) -> bool:
        """Whether the listener is left out."""
        return bool(self.reasons)


@dataclass(frozen=True)
class Outlier:
    """A rating outside 1.5 interquartile ranges of what others gave to the same system and item.

    Args:
        listener, item, system, score: the rating.
        low, high: the fences.
    """

    listener: str
    item: str
    system: str
    score: float
    low: float
    high: float


def screen(answers: Answers) -> tuple[Verdict, ...]:
    """Judge every listener, in order of appearance."""
    reasons: dict[str, list[str]] = defaultdict(list)
    remarks: dict[str, list[str]] = defaultdict(list)
    if answers.method == "mushra":
        _reference_rule(answers.ratings, reasons)
        _anchor_rule(answers.ratings, reasons)
    elif answers.ratings:
        _consistency(answers, reasons)
    else:
        _same_choice(answers.choices, reasons, remarks)
    too_fast = _too_fast([*answers.ratings, *answers.choices])
    if answers.method != "mushra":  # the Recommendation knows no such rule
        _add(reasons, too_fast)
    else:
        _add(remarks, too_fast)
    verdicts = []
    for listener, runs in _by_listener(answers.runs).items():
        if len(runs) > 1:
            remarks[listener].append(f"{len(runs)} sessions")
        count, expected = sum(run.answers for run in runs), sum(run.expected for run in runs)
        verdicts.append(
            Verdict(listener, len(runs), count, expected, tuple(reasons[listener]), tuple(remarks[listener]))
        )
    return tuple(verdicts)


def _reference_rule(ratings: Sequence[Rating], reasons: dict[str, list[str]]) -> None:
    for listener, scores in _by_listener(r for r in ratings if r.kind == REFERENCE).items():
        low = [r for r in scores if r.score < LIMIT]
        if len(low) > MOST_ITEMS * len(scores):
            reasons[listener].append(f"hidden reference below 90 on {_of(low, scores)} items")


def _anchor_rule(ratings: Sequence[Rating], reasons: dict[str, list[str]]) -> None:
    names = {r.system for r in ratings if r.kind == ANCHOR}
    anchor = next((name for name in (MID_ANCHOR_NAME, ANCHOR35_NAME) if name in names), None)
    of_anchor = [r for r in ratings if r.system == anchor and r.kind == ANCHOR]
    items = defaultdict(list)
    for r in of_anchor:
        items[r.item].append(r)
    # An item that many rate so high was not much degraded by the filter: nobody is excluded on its scores.
    telling = {
        item
        for item, scores in items.items()
        if len({r.listener for r in scores if r.score > LIMIT}) <= MOST_LISTENERS * len({r.listener for r in scores})
    }
    for listener, scores in _by_listener(of_anchor).items():
        high = [r for r in scores if r.score > LIMIT and r.item in telling]
        # Of all items the listener rated: fewer telling items must not make the rule stricter.
        if len(high) > MOST_ITEMS * len(scores):
            rule = "" if anchor == MID_ANCHOR_NAME else " (our rule: no mid anchor in the test)"
            reasons[listener].append(f"{anchor} above 90 on {_of(high, scores)} items{rule}")


def _consistency(answers: Answers, reasons: dict[str, list[str]]) -> None:
    """Rules for ratings that BS.1534 does not cover: acr and bs1116."""
    lowest = _lowest_anchor(answers.ratings)
    for listener, votes in _by_listener(answers.ratings).items():
        scores = np.array([r.score for r in votes])
        if len(votes) >= _FEWEST_VOTES and np.ptp(scores) == 0:
            reasons[listener].append(f"all {len(votes)} votes are the same")
        reference = [r.score for r in votes if r.kind == REFERENCE]
        low = [r.score for r in votes if r.system == lowest and r.kind == ANCHOR]
        if reference and low and np.mean(reference) < np.mean(low):
            reasons[listener].append(f"rates {lowest} above the hidden reference")
        if answers.method == BS1116 and np.ptp(scores) > 0 and not _below_zero(scores):
            reasons[listener].append("difference grades are not below 0: does not hear which is the reference")
    if answers.method != BS1116:
        _add(reasons, _disagreement(answers.ratings))


def _disagreement(ratings: Sequence[Rating]) -> dict[str, str]:
    """Listeners whose votes have nothing to do with what the others gave, while the others' have."""
    from scipy import stats

    others_mean = _mean_of_others(ratings)
    found: dict[str, tuple[float, int]] = {}
    for listener, votes in _by_listener(ratings).items():
        scores, others = np.array([r.score for r in votes]), others_mean(votes)
        there = np.isfinite(others)  # where somebody else voted
        if there.sum() >= _FEWEST_FOR_AGREEMENT and np.ptp(scores[there]) > 0 and np.ptp(others[there]) > 0:
            found[listener] = float(np.corrcoef(scores[there], others[there])[0, 1]), int(there.sum())
    usual = float(np.median([correlation for correlation, _ in found.values()])) if found else 0.0
    surely = float(stats.norm.isf(_AGREEMENT_P))

    def apart(high: float, low: float, votes: int) -> bool:
        """Whether one correlation is surely above another (Fisher's z)."""
        high, low = np.arctanh(np.clip([high, low], -0.999, 0.999))
        return (high - low) * math.sqrt(votes - 3) > surely

    # Where systems are alike nobody agrees with anybody: then no correlation is surely below the usual one.
    return {
        listener: f"does not agree with the others (correlation {correlation:.2f}, usual {usual:.2f})"
        for listener, (correlation, votes) in found.items()
        if not apart(correlation, 0.0, votes) and apart(usual, correlation, votes)
    }


def _below_zero(scores: np.ndarray) -> bool:
    from scipy import stats

    return bool(stats.ttest_1samp(scores, 0.0, alternative="less").pvalue < 0.05)


def _lowest_anchor(ratings: Sequence[Rating]) -> str:
    scores = defaultdict(list)
    for r in ratings:
        if r.kind == ANCHOR:
            scores[r.system].append(r.score)
    if ANCHOR35_NAME in scores:
        return ANCHOR35_NAME
    return min(scores, key=lambda name: float(np.mean(scores[name])), default="")


def _mean_of_others(ratings: Sequence[Rating]) -> Callable[[Sequence[Rating]], np.ndarray]:
    """A function that gives, for the votes of one listener, what the others gave to the same stimuli on average."""
    sums: dict[tuple[str, str], float] = defaultdict(float)
    counts: Counter[tuple[str, str]] = Counter()
    for r in ratings:
        sums[r.item, r.system] += r.score
        counts[r.item, r.system] += 1

    def mean(votes: Sequence[Rating]) -> np.ndarray:
        own: dict[tuple[str, str], list[float]] = defaultdict(list)
        for r in votes:
            own[r.item, r.system].append(r.score)
        means = []
        for r in votes:
            mine = own[r.item, r.system]
            left = counts[r.item, r.system] - len(mine)
            means.append((sums[r.item, r.system] - sum(mine)) / left if left else math.nan)
        return np.array(means)

    return mean


def _same_choice(choices: Sequence[PairChoice], reasons: dict[str, list[str]], remarks: dict[str, list[str]]) -> None:
    for listener, answers in _by_listener(choices).items():
        said = {choice.said for choice in answers}
        if len(answers) >= _FEWEST_VOTES and len(said) == 1:
            # The order of the two is random: "a" every time is no opinion. "No difference" may be an honest one.
            place = remarks if said <= _NO_DIFFERENCE else reasons
            place[listener].append(f"answered {said.pop()!r} to all {len(answers)} pairs")


def _too_fast(answers: Sequence[Rating | PairChoice]) -> dict[str, str]:
    """Listeners of whom too many pages last shorter than what was to be heard on them."""
    found = {}
    for listener, given in _by_listener(answers).items():
        timed = [a for a in given if math.isfinite(a.page_ms)]
        fast = [a for a in timed if a.page_ms < 1000 * a.seconds]
        if len(fast) > MOST_ITEMS * len(timed):
            found[listener] = f"page shorter than the stimulus for {_of(fast, timed)} answers"
    return found


def outliers(ratings: Sequence[Rating]) -> tuple[Outlier, ...]:
    """Ratings beyond 1.5 interquartile ranges, to be examined, never removed (BS.1534-3, 4.1.2).

    The quartiles are the Recommendation's: medians of the lower and the upper half, both with the median itself.
    """
    stimuli: dict[tuple[str, str], list[Rating]] = defaultdict(list)
    for r in ratings:
        stimuli[r.item, r.system].append(r)
    found = []
    for given in stimuli.values():
        first, third = quartiles(np.array([r.score for r in given]))
        low, high = first - 1.5 * (third - first), third + 1.5 * (third - first)
        found += [
            Outlier(r.listener, r.item, r.system, r.score, low, high) for r in given if not low <= r.score <= high
        ]
    return tuple(found)


def quartiles(scores: np.ndarray) -> tuple[float, float]:
    """Medians of the lower and of the upper half, shape ``[n]`` with ``n > 0``.

    >>> quartiles(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    (2.0, 4.0)
    """
    ordered = np.sort(scores)
    half = (len(ordered) + 1) // 2
    return float(np.median(ordered[:half])), float(np.median(ordered[-half:]))


def _by_listener(answers: Iterable[A]) -> dict[str, list[A]]:
    groups: dict[str, list[A]] = defaultdict(list)
    for answer in answers:
        groups[answer.listener].append(answer)
    return groups


def _add(lists: dict[str, list[str]], said: dict[str, str]) -> None:
    for listener, text in said.items():
        lists[listener].append(text)


def _of(some: Sequence[object], every: Sequence[object]) -> str:
    return f"{len(some)} of {len(every)}"
