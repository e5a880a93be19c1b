"""Listeners whose true opinion is known, to see whether the analysis finds it and whom the screening removes."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence

import numpy as np

from diffwave.listening.design import ANCHOR, REFERENCE, RESULT_COLUMNS, SYSTEM, ListeningTest, Stimulus, Trial
from diffwave.listening.formats import Answer
from diffwave.listening.ratings import join
from diffwave.listening.screening import Verdict, screen

SYSTEMS = {"good": SYSTEM, "middling": SYSTEM, "poor": SYSTEM, "anchor35": ANCHOR, "reference": REFERENCE}
MUSHRA_MEANS = {"good": 82.0, "middling": 66.0, "poor": 45.0, "anchor35": 25.0, "anchor70": 62.0}
ACR_MEANS = {"good": 4.1, "middling": 3.4, "poor": 2.5, "anchor35": 1.9, "reference": 4.5}


def make_test(method: str, items: int, systems: dict[str, str] | None = None) -> ListeningTest:
    """A test of this many utterances; identifiers tell what they are, which real ones do not."""
    systems = systems or SYSTEMS
    stimuli, trials = [], []
    for item in range(items):
        names = {}
        for system, kind in systems.items():
            names[system] = f"s{item}{system.replace('-', '')}"
            stimuli.append(Stimulus(names[system], f"speech/{item:02}", system, kind, "", "", 4.0, 0.0, -23.0, -3.0))
        trials += _trials(method, item, names, systems)
    return ListeningTest(
        f"test-{method}", "Simulated test", method, 0, "0", 16000, tuple(trials), (), "", "0", tuple(stimuli)
    )


def _trials(method: str, item: int, names: dict[str, str], systems: dict[str, str]) -> Iterator[Trial]:
    where = f"speech/{item:02}"
    if method == "mushra":
        yield Trial(f"t{item}", where, names["reference"], tuple(names.values()))
    elif method == "acr":
        for system, name in names.items():
            yield Trial(f"t{item}{system}", where, "", (name,))
    else:
        tested = [name for system, name in names.items() if systems[system] == SYSTEM]
        for i, first in enumerate(tested):
            for j, second in enumerate(tested[i + 1 :]):
                yield Trial(f"t{item}p{i}{i + j + 1}", where, "", (first, second))


def answer(test: ListeningTest, listener: str, trial: Trial, stimulus: str, said: object, **rest: str) -> Answer:
    """An answer as a file would have it, after 20 s on the page."""
    return Answer("simulated", 1, test.test_id, test.method, listener, f"{listener}-1", trial.trial, stimulus,
                  str(said), page_ms=20000.0, **rest)  # fmt: skip


def honest_mushra(rng: np.random.Generator, test: ListeningTest, listeners: Sequence[str]) -> list[Answer]:
    """Listeners who hear what there is to hear.

    The hidden reference is found and gets about 99; once in thirty pages it is taken for the best system.
    """
    kind = {s.stimulus: s for s in test.stimuli}
    listener_sd, item_sd, residual_sd = 6.0, 5.0, 9.0
    of_items = item_sd * rng.standard_normal(len(test.trials))
    found = []
    for listener in listeners:
        bias = listener_sd * rng.standard_normal()
        for of_item, trial in zip(of_items, test.trials, strict=True):
            for name in trial.stimuli:
                if kind[name].kind == REFERENCE:
                    score = rng.normal(82, 8) if rng.random() < 1 / 30 else rng.normal(99, 2.5)
                else:
                    mean = MUSHRA_MEANS[kind[name].system] + bias + of_item
                    score = mean + residual_sd * rng.standard_normal()
                found.append(answer(test, listener, trial, name, int(np.clip(round(score), 0, 100))))
    return found


def random_clicks(
    rng: np.random.Generator, test: ListeningTest, listeners: Sequence[str], low: int, high: int
) -> list[Answer]:
    """Listeners who give any whole number between two, whatever they hear."""
    return [
        answer(test, listener, trial, name, int(rng.integers(low, high + 1)))
        for listener in listeners
        for trial in test.trials
        for name in trial.stimuli
    ]


def honest_acr(rng: np.random.Generator, test: ListeningTest, listeners: Sequence[str]) -> list[Answer]:
    """Listeners whose votes scatter around the systems' means."""
    system = {s.stimulus: s.system for s in test.stimuli}
    of_items = {trial.item: 0.3 * rng.standard_normal() for trial in test.trials}
    found = []
    for listener in listeners:
        bias = 0.4 * rng.standard_normal()
        for trial in test.trials:
            (name,) = trial.stimuli
            score = ACR_MEANS[system[name]] + bias + of_items[trial.item] + 0.7 * rng.standard_normal()
            found.append(answer(test, listener, trial, name, int(np.clip(round(score), 1, 5))))
    return found


def honest_pairs(
    rng: np.random.Generator, test: ListeningTest, listeners: Sequence[str], strength: float = 1.2
) -> list[Answer]:
    """Listeners who prefer the system that comes first in the test, more or less; the order of play is random."""
    of_items = {trial.item: 0.4 * rng.standard_normal() for trial in test.trials}
    found = []
    for listener in listeners:
        bias = 0.5 * rng.standard_normal()
        for trial in test.trials:
            turned = bool(rng.integers(2))
            a, b = trial.stimuli[::-1] if turned else trial.stimuli
            better = strength + bias + of_items[trial.item] + rng.standard_normal()  # of the first of the test
            of_b = better if turned else -better
            if test.method == "ab":
                said: object = "none" if abs(of_b) < 0.2 else "b" if of_b > 0 else "a"
                found.append(answer(test, listener, trial, a, said, other=b))
            elif test.method == "cmos":
                found.append(answer(test, listener, trial, a, int(np.clip(round(of_b), -3, 3)), other=b))
            else:
                x_is_a = bool(rng.integers(2))
                right = better > 0
                said = "a" if x_is_a == right else "b"
                found.append(answer(test, listener, trial, a, said, other=b, x=a if x_is_a else b))
    return found


def own_csv(answers: Sequence[Answer]) -> str:
    """The answers as our page and server write them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, RESULT_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for given in answers:
        values = dataclasses.asdict(given) | {"page_ms": f"{given.page_ms:g}"}
        writer.writerow({name: values[name] for name in RESULT_COLUMNS if name in values})
    return text.getvalue()


def screening_rates(seed: int, panels: int, method: str, honest: int, clicking: int, items: int) -> dict[str, float]:
    """Share of honest listeners that the screening keeps and of clicking ones that it removes, over many panels."""
    rng = np.random.default_rng(seed)
    test = make_test(method, items)
    kept = removed = 0
    good = [f"honest{i:02}" for i in range(honest)]
    bad = [f"clicks{i:02}" for i in range(clicking)]
    for _ in range(panels):
        answers = (honest_mushra if method == "mushra" else honest_acr)(rng, test, good)
        low, high = (0, 100) if method == "mushra" else (1, 5)
        answers += random_clicks(rng, test, bad, low, high)
        verdicts: tuple[Verdict, ...] = screen(join(test, answers))
        excluded = {verdict.listener for verdict in verdicts if verdict.excluded}
        kept += len(set(good) - excluded)
        removed += len(set(bad) & excluded)
    return {"kept": kept / (panels * honest), "removed": removed / (panels * clicking)}
