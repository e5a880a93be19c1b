"""Search for the trained steps that few network calls should visit.

A schedule is a rising row of (fractional) trained steps. Its space has as many dimensions as calls, but good
schedules are smooth, so the search goes from coarse to fine: the schedules there are already, then curves of three
numbers (lowest step, highest step, and a power that bends what lies between), then each step by itself. Every trial
costs a synthesis of several utterances, which is why there is a cap, and why nothing is tried twice. No random numbers
are drawn.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

Steps = tuple[float, ...]
Objective = Callable[[Steps], float]

# What a tenth of a step changes is less than what another utterance would.
GRID = 0.5
_LOWS = (0.0, 0.1, 0.25)
_HIGHS = (1.0, 0.85, 0.7, 0.5, 0.35)
_POWERS = (1.0, 1.6, 0.6)
# Has no factor in common with the number of curves: a cap leaves out some everywhere instead of one corner.
_LEAP = 13
# Shares of the cap: of schedules made from the one before, of coarse curves, of finer ones; the rest is for each step.
_INSERTED, _COARSE, _FINE = 0.25, 0.25, 0.2


@dataclass(frozen=True)
class ScheduleTrial:
    """A schedule that was tried.

    Args:
        steps: trained steps, rising.
        value: of the objective, lower is better; infinite if it was not finite.
        origin: what proposed it: ``current``, ``inserted``, ``curve`` or ``step``.
    """

    steps: Steps
    value: float
    origin: str


@dataclass(frozen=True)
class Curve:
    """A schedule of three numbers: ``low + (high - low) * (i / (N - 1)) ** power``.

    Args:
        low, high: first and last step as shares of the last trained one, in ``[0, 1]``.
        power: above 1 the steps lie closer together where there is little noise, below 1 where there is much.
    """

    low: float
    high: float
    power: float

    def steps(self, count: int, last: int) -> Steps:
        """So many steps up to ``last``, on the grid.

        >>> Curve(0.0, 1.0, 2.0).steps(5, 48)
        (0.0, 3.0, 12.0, 27.0, 48.0)
        """
        # One step alone is where sampling starts.
        shares = [1.0] if count == 1 else [(i / (count - 1)) ** self.power for i in range(count)]
        return on_grid([last * (self.low + (self.high - self.low) * share) for share in shares], last)


def on_grid(steps: Sequence[float], last: int) -> Steps:
    """The nearest rising multiples of ``GRID`` in ``[0, last]``; there must be room for so many.

    >>> on_grid([-3, 0.1, 0.2, 8.7, 11], 9)
    (0.0, 0.5, 1.0, 8.5, 9.0)
    """
    places: list[int] = []
    for step in steps:
        lowest = places[-1] + 1 if places else 0
        places.append(max(round(step / GRID), lowest))
    most = int(last / GRID)
    return tuple(GRID * min(place, most - (len(places) - 1 - i)) for i, place in enumerate(places))


def inserted(steps: Steps, last: int) -> list[Steps]:
    """All schedules with one step more, in the middle of a gap (also of those at the ends), widest gap first.

    >>> inserted((10.0, 40.0), 49)
    [(10.0, 25.0, 40.0), (5.0, 10.0, 40.0), (10.0, 40.0, 44.5)]
    """
    ends = [0.0, *steps, float(last)]
    gaps = sorted(range(len(ends) - 1), key=lambda i: ends[i] - ends[i + 1])
    found = []
    for gap in gaps:
        middle = GRID * round((ends[gap] + ends[gap + 1]) / 2 / GRID)
        longer = (*steps[:gap], middle, *steps[gap:])
        if all(low < high for low, high in itertools.pairwise(longer)) and 0 <= middle <= last:
            found.append(longer)
    return found


def search(
    objective: Objective,
    count: int,
    last: int,
    most: int,
    current: Steps = (),
    previous: Steps = (),
    report: Callable[[ScheduleTrial], None] | None = None,
) -> ScheduleTrial:
    """Find ``count`` steps with a low objective.

    Args:
        objective: of a rising row of steps; called once for each.
        count: network calls ``N``, at least 1 and at most ``last + 1``.
        last: the last trained step, ``T - 1``.
        most: calls of the objective at most, at least 1.
        current: the schedule in use, tried first and as it is: what is found is never worse.
        previous: the best one of ``N - 1`` calls; it is tried with a step inserted, at least in its widest gap.
        report: is told of every trial at once, so that nothing is lost if the search is interrupted.

    Returns:
        The best of all trials.
    """
    trials = _Trials(objective, most, report)
    if current:
        trials.stage(most, lambda: trials.value(current, "current"))
    if previous:
        trials.stage(_share(most, _INSERTED), lambda: trials.all(inserted(previous, last), "inserted"))
    curves = [Curve(*numbers) for numbers in itertools.product(_LOWS, _HIGHS, _POWERS)]
    curves = [curves[i * _LEAP % len(curves)] for i in range(len(curves))]
    trials.stage(_share(most, _COARSE), lambda: trials.all([c.steps(count, last) for c in curves], "curve"))
    known = [curve for curve in curves if trials.known(curve.steps(count, last))]
    if known:
        best = min(known, key=lambda curve: trials.value(curve.steps(count, last), "curve"))
        trials.stage(_share(most, _FINE), lambda: _bend(trials, best, count, last))
    if trials.best is not None:
        start = trials.best.steps
        trials.stage(most, lambda: _move_each(trials, start, last))
    assert trials.best is not None  # the cap is at least 1
    return trials.best


def _share(most: int, share: float) -> int:
    return max(round(most * share), 1)


class _SpentError(Exception):
    """No trials left."""


class _Trials:
    """Calls the objective, once for each schedule, and no more often than allowed."""

    def __init__(self, objective: Objective, most: int, report: Callable[[ScheduleTrial], None] | None) -> None:
        self.best: ScheduleTrial | None = None
        self._objective, self._most, self._report = objective, most, report
        self._limit = most
        self._values: dict[Steps, float] = {}

    def stage(self, allowed: int, work: Callable[[], object]) -> None:
        """Work until it is done or has made so many trials."""
        self._limit = min(len(self._values) + allowed, self._most)
        with contextlib.suppress(_SpentError):
            work()

    def known(self, steps: Steps) -> bool:
        """Whether a schedule was tried already."""
        return steps in self._values

    def all(self, schedules: Sequence[Steps], origin: str) -> None:
        """Try one after the other."""
        for steps in schedules:
            self.value(steps, origin)

    def value(self, steps: Steps, origin: str) -> float:
        """The objective of a schedule."""
        if steps in self._values:
            return self._values[steps]
        if len(self._values) >= self._limit:
            raise _SpentError
        value = self._objective(steps)
        trial = ScheduleTrial(steps, value if math.isfinite(value) else math.inf, origin)
        self._values[steps] = trial.value
        # Of equals the first: a schedule in use is left only for a better one.
        if self.best is None or trial.value < self.best.value:
            self.best = trial
        if self._report is not None:
            self._report(trial)
        return trial.value


def _bend(trials: _Trials, curve: Curve, count: int, last: int) -> None:
    """Pattern search over the three numbers of a curve (Hooke & Jeeves 1961), its strides halved twice."""

    def value(candidate: Curve) -> float:
        return trials.value(candidate.steps(count, last), "curve")

    for stride in (1.0, 0.5, 0.25):
        better = True
        while better:
            better = False
            for candidate in _neighbours(curve, stride):
                if value(candidate) < value(curve):
                    curve, better = candidate, True
                    break


def _neighbours(curve: Curve, stride: float) -> Iterator[Curve]:
    for sign in (-1, 1):
        change = sign * stride / 10
        if curve.low < curve.high + change <= 1:
            yield replace(curve, high=curve.high + change)
        if 0 <= curve.low + change < curve.high:
            yield replace(curve, low=curve.low + change)
        yield replace(curve, power=curve.power * 2 ** (sign * stride / 2))


def _move_each(trials: _Trials, steps: Steps, last: int) -> None:
    """Coordinate descent: every step up and down by itself, the noisiest first, by strides that are halved."""
    stride = GRID * 2 ** max(math.floor(math.log2(max(last, 1) / 12 / GRID)), 0)
    while stride >= GRID:
        before = steps
        for index in reversed(range(len(steps))):
            for change in (-stride, stride):
                steps = _while_better(trials, steps, index, change, last)
        # Again by the same stride, since one step's best place depends on its neighbours'.
        stride = stride if steps != before else stride / 2


def _while_better(trials: _Trials, steps: Steps, index: int, change: float, last: int) -> Steps:
    """Go on in one direction as long as that helps."""
    while True:
        place = GRID * round((steps[index] + change) / GRID)
        lowest = steps[index - 1] + GRID if index else 0.0
        highest = steps[index + 1] - GRID if index + 1 < len(steps) else float(last)
        moved = (*steps[:index], place, *steps[index + 1 :])
        if not lowest <= place <= highest or trials.value(moved, "step") >= trials.value(steps, "step"):
            return steps
        steps = moved
