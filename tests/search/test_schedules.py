"""The search for schedules, on objectives whose best schedule is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest

from diffwave.search.schedules import GRID, Curve, ScheduleTrial, Steps, inserted, on_grid, search

LAST = 49
TARGET = (2.0, 9.5, 20.0, 34.0)


def distance_to(target: Steps) -> Callable[[Steps], float]:
    """Squared distance to a schedule; a schedule of another length is worse by what it lacks."""

    def objective(steps: Steps) -> float:
        assert len(steps) == len(target)
        return sum((a - b) ** 2 for a, b in zip(steps, target, strict=True))

    return objective


def coupled(steps: Steps) -> float:
    """Mean distance of some places to the nearest step: no step has a best place of its own, and more can only help."""
    return sum(min(abs(place - step) for step in steps) for place in range(5, 36)) / 31


class Counting:
    """An objective that remembers what it was asked."""

    def __init__(self, objective: Callable[[Steps], float]) -> None:
        self.objective, self.asked = objective, list[Steps]()

    def __call__(self, steps: Steps) -> float:
        self.asked.append(steps)
        return self.objective(steps)


@pytest.mark.parametrize("target", [TARGET, (0.0, 1.0, 1.5, 49.0), (12.0,), (30.5, 48.0), tuple(map(float, range(12)))])
def test_a_known_optimum_is_found(target: Steps) -> None:
    assert search(distance_to(target), len(target), LAST, most=2000).steps == target


def test_few_trials_come_near_it() -> None:
    spaced = tuple(LAST * i / 3 for i in range(4))
    found = search(distance_to(TARGET), 4, LAST, most=60, current=spaced)
    assert found.value < distance_to(TARGET)(spaced) / 50


def test_steps_that_hang_together_are_moved_together() -> None:
    # Neither on the coarse curves, nor to be reached by one step after another before the cap.
    target = Curve(0.06, 0.62, 1.3).steps(12, LAST)

    def objective(steps: Steps) -> float:
        off = [a - b for a, b in zip(steps, target, strict=True)]
        apart = [high - low for low, high in itertools.pairwise(off)]
        return (0.2 * sum(each**2 for each in off) + sum(each**2 for each in apart)) / len(target)

    spaced = tuple(LAST * i / 11 for i in range(12))
    assert search(objective, 12, LAST, most=80, current=spaced).value < 0.25 < objective(spaced) / 20


@pytest.mark.parametrize("most", [1, 2, 7, 30, 100])
def test_the_cap_holds_nothing_is_tried_twice_and_all_is_told(most: int) -> None:
    objective, told = Counting(coupled), list[ScheduleTrial]()
    found = search(objective, 5, LAST, most, (0.0, 12.0, 25.0, 37.0, 49.0), (3.0, 10.0, 20.0, 30.0), told.append)
    assert len(objective.asked) == len(set(objective.asked)) <= most
    assert [trial.steps for trial in told] == objective.asked
    assert [trial.value for trial in told] == [coupled(steps) for steps in objective.asked]
    assert found == min(told, key=lambda trial: trial.value)


def test_a_small_cap_is_used_up() -> None:
    objective = Counting(coupled)
    search(objective, 5, LAST, 40, previous=(3.0, 10.0, 20.0, 30.0))
    assert len(objective.asked) == 40


@pytest.mark.parametrize("most", [1, 3, 20])
def test_never_worse_than_the_schedule_in_use(most: int) -> None:
    # Off the grid, and best: nothing that the search proposes by itself can reach it.
    target = (0.1234, 7.7, 23.4)
    objective = Counting(distance_to(target))
    found = search(objective, 3, LAST, most, current=target)
    assert (found.steps, found.value, found.origin) == (target, 0.0, "current")
    assert objective.asked[0] == target


def test_of_equals_the_one_in_use_is_kept() -> None:
    assert search(lambda _: 1.0, 2, LAST, 30, current=(1.0, 2.0)).steps == (1.0, 2.0)


@pytest.mark.parametrize("most", [2, 10, 40])
def test_never_worse_than_one_call_fewer_with_a_step_inserted(most: int) -> None:
    previous = (4.0, 5.0, 47.0)
    widest = (4.0, 5.0, 26.0, 47.0)
    objective = Counting(lambda steps: -1.0 if steps == widest else 1.0)
    found = search(objective, 4, LAST, most, current=(0.0, 1.0, 2.0, 3.0), previous=previous)
    assert (found.steps, found.origin) == (widest, "inserted")


def test_quality_does_not_fall_as_calls_are_added() -> None:
    values, previous = list[float](), Steps()
    for count in range(1, 13):
        found = search(coupled, count, LAST, 40, previous=previous)
        values.append(found.value)
        previous = found.steps
    assert values == sorted(values, reverse=True)
    assert values[5] < values[0] / 3


def test_the_same_search_twice() -> None:
    first, second = list[ScheduleTrial](), list[ScheduleTrial]()
    for told in (first, second):
        search(coupled, 6, LAST, 80, report=told.append)
    assert first == second


@pytest.mark.parametrize(("count", "last"), [(1, 0), (2, 1), (3, 2), (50, 49), (12, 199)])
def test_every_trial_rises_within_the_trained_range(count: int, last: int) -> None:
    objective = Counting(lambda steps: sum(math.sin(7 * step) for step in steps))
    search(objective, count, last, 60, previous=Curve(0.0, 1.0, 1.0).steps(count - 1, last) if count > 1 else ())
    for steps in objective.asked:
        assert len(steps) == count
        assert 0 <= steps[0] <= steps[-1] <= last
        assert all(low + GRID <= high for low, high in itertools.pairwise(steps))


def test_what_is_not_finite_is_never_chosen() -> None:
    told = list[ScheduleTrial]()

    def objective(steps: Steps) -> float:
        return math.nan if steps[-1] > 20 else steps[-1]

    found = search(objective, 2, LAST, 80, current=(0.0, 49.0), report=told.append)
    assert found.value == found.steps[-1] <= 20
    assert told[0].value == math.inf


def test_an_interrupted_search_has_told_what_it_tried() -> None:
    told = list[ScheduleTrial]()

    def objective(steps: Steps) -> float:
        if len(told) == 5:
            raise KeyboardInterrupt
        return coupled(steps)

    with pytest.raises(KeyboardInterrupt):
        search(objective, 3, LAST, 80, report=told.append)
    assert len(told) == 5


def test_a_crowded_curve_keeps_its_distances() -> None:
    assert Curve(0.0, 1.0, 40.0).steps(5, 49) == (0.0, 0.5, 1.0, 1.5, 49.0)
    assert Curve(0.0, 1.0, 0.001).steps(4, 49) == (0.0, 48.0, 48.5, 49.0)
    assert on_grid([49.0] * 3, 49) == (48.0, 48.5, 49.0)


def test_inserting_leaves_out_gaps_without_room() -> None:
    assert inserted((0.0, 0.5, 1.0), 1) == []
    assert inserted((0.0, 2.0), 2) == [(0.0, 1.0, 2.0)]
    assert all(len(steps) == 4 for steps in inserted((1.3, 2.7, 3.1), 49))
