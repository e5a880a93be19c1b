from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from diffwave.listening.design import ANCHOR, REFERENCE, SYSTEM
from diffwave.listening.matching import Item
from diffwave.listening.stimuli import Prepared, Sound
from diffwave.listening.trials import Design, Trials, arrange, make_secret, public_hash

KINDS = {"reference": REFERENCE, "one": SYSTEM, "two": SYSTEM, "three": SYSTEM, "anchor35": ANCHOR}


def prepared(item: str, names: tuple[str, ...] = tuple(KINDS)) -> Prepared:
    sounds = [Sound(name, KINDS[name], "", np.ones(8, np.int16), 16000, 0.0, -23.0) for name in names]
    return Prepared(Item(item, Path(), {}), tuple(sounds), ())


def arranged(method: str, pairs: str = "", secret: bytes = b"secret", **other: Prepared) -> Trials:
    items = [prepared("x"), prepared("y")]
    return arrange(Design(method, pairs, secret), items, other.get("training", prepared("z")), [])


def names(made: Trials, stimuli: tuple[str, ...]) -> list[str]:
    system = {stimulus.stimulus: stimulus.system for stimulus in made.stimuli}
    return sorted(system[stimulus] for stimulus in stimuli)


def test_a_mushra_page_has_everything_and_an_open_reference() -> None:
    made = arranged("mushra")
    assert sorted(trial.item for trial in made.trials) == ["x", "y"]
    for trial in (*made.trials, *made.training):
        assert names(made, trial.stimuli) == sorted(KINDS)
        assert names(made, (trial.reference,)) == ["reference"]
        assert trial.reference not in trial.stimuli
    assert [trial.item for trial in made.training] == ["z"]
    assert made.volume == made.training[0].reference
    assert len(made.stimuli) == 3 * (len(KINDS) + 1)


def test_an_acr_page_has_one_stimulus() -> None:
    made = arranged("acr")
    assert [names(made, trial.stimuli)[0] for trial in sorted(made.trials, key=lambda t: t.item)].count("one") == 2
    assert sorted(name for trial in made.trials for name in names(made, trial.stimuli)) == sorted([*KINDS, *KINDS])
    assert all(trial.reference == "" for trial in made.trials)


@pytest.mark.parametrize("method", ["ab", "cmos", "abx"])
def test_pairs(method: str) -> None:
    among = arranged(method, "systems")
    expected = sorted(sorted(pair) for pair in combinations(("one", "two", "three"), 2)) * 2
    assert sorted(names(among, trial.stimuli) for trial in among.trials) == sorted(expected)
    against = arranged(method, "reference")
    expected = [sorted(("reference", name)) for name in ("one", "two", "three")] * 2
    assert sorted(names(against, trial.stimuli) for trial in against.trials) == sorted(expected)
    # Only the volume page of a test among systems plays a reference; nobody plays an anchor.
    assert [stimulus.item for stimulus in among.stimuli if stimulus.kind == REFERENCE] == ["z"]
    assert not any(stimulus.kind == ANCHOR for stimulus in (*among.stimuli, *against.stimuli))


def test_identifiers_are_letter_first_and_unique() -> None:
    made = arranged("mushra")
    drawn = [stimulus.stimulus for stimulus in made.stimuli] + [t.trial for t in (*made.trials, *made.training)]
    assert all(re.fullmatch("[a-z][a-z0-9]{7}", name) for name in drawn)
    assert len(set(drawn)) == len(drawn)


def test_identifiers_depend_on_the_secret_alone() -> None:
    assert arranged("acr").stimuli == arranged("acr").stimuli
    assert not {s.stimulus for s in arranged("acr").stimuli} & {s.stimulus for s in arranged("acr", "", b"x").stimuli}


def test_the_order_of_identifiers_tells_nothing() -> None:
    """Over many secrets, each system is first on a page about equally often."""
    first: dict[str, int] = dict.fromkeys(KINDS, 0)
    for number in range(300):
        made = arranged("mushra", "", bytes([number % 256, number // 256]))
        for trial in made.trials:
            first[names(made, trial.stimuli[:1])[0]] += 1
    # 600 pages, expected 120 each with a standard deviation of 9.8.
    assert all(abs(count - 120) < 50 for count in first.values()), first


def test_a_training_item_of_the_test_shares_its_stimuli() -> None:
    items = [prepared("x")]
    made = arrange(Design("mushra", "", b"secret"), items, items[0], [])
    assert made.training[0].stimuli == made.trials[0].stimuli
    assert made.training[0].trial != made.trials[0].trial


def test_the_secret_needs_more_than_the_seed() -> None:
    assert make_secret(1, [b"a", b"b"]) == make_secret(1, [b"a", b"b"])
    others = [make_secret(2, [b"a", b"b"]), make_secret(1, [b"ab"]), make_secret(1, [b"b", b"a"])]
    assert make_secret(1, [b"a", b"b"]) not in others
    assert re.fullmatch("[0-9a-f]{16}", public_hash(b"secret", "order"))
    assert public_hash(b"secret", "order") != public_hash(b"secret", "name")
