"""The seeded choice of utterances: for the test, for its training, and for clips whose rating is beyond doubt."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from diffwave.listening.documents import ListeningError
from diffwave.listening.matching import Item, some
from diffwave.listening.stimuli import Prepared, Recipe, UnusableItemError, prepare

_MOST_GOLD_ITEMS = 5
Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Selection:
    """What was chosen.

    Args:
        items: of the test.
        training: one more; if there is none, the first of ``items``.
        gold: references, each with an anchor that is beyond doubt bad; empty if not wanted.
        training_is_apart, gold_is_apart: whether these are of utterances that the test does not have.
        notes: what the experimenter should know, a line each.
    """

    items: list[Prepared]
    training: Prepared
    gold: list[Prepared]
    training_is_apart: bool
    gold_is_apart: bool
    notes: list[str] = field(default_factory=list)


def select(items: list[Item], count: int, seed: int, recipe: Recipe, gold_anchor: str, tell: Progress) -> Selection:
    """Choose and prepare utterances; those that turn out unusable are replaced by others and told.

    Args:
        items: in a fixed order.
        count: utterances of the test.
        seed: of the choice.
        recipe: how stimuli are made.
        gold_anchor: name of the anchor for clips beyond doubt; empty for none of these.
        tell: called with the name of each utterance that was prepared.

    Raises:
        ListeningError: if there are too few that are usable.
    """
    order = random.Random(seed).sample(items, len(items))
    notes: list[str] = []
    usable = _prepare_all(order, recipe, notes, tell)
    chosen = [prepared for prepared, _ in zip(usable, range(count), strict=False)] if count else []
    if len(chosen) < count:
        reason = f"; {notes[0]}" if notes else ""
        raise ListeningError(
            f"--items {count}: expected at most {len(chosen)}, the utterances that all systems have and that can "
            f"be used; got {count}{reason}"
        )
    spare = next(usable, None)
    notes += _grouped([*chosen, *([spare] if spare else [])])
    gold: list[Prepared] = []
    gold_is_apart = False
    if gold_anchor:
        used = {prepared.item.name for prepared in [*chosen, *([spare] if spare else [])]}
        gold_is_apart = any(item.name not in used for item in order)
        pool = [item for item in order if item.name not in used] if gold_is_apart else [(spare or chosen[0]).item]
        gold = _gold(pool, replace(recipe, anchors=(gold_anchor,), sample_rate=_rate(chosen[0])), tell)
    return Selection(chosen, spare or chosen[0], gold, spare is not None, gold_is_apart, notes)


def _grouped(prepared: list[Prepared]) -> list[str]:
    """Notes with the utterances that each is about: what a system does, it often does everywhere."""
    about: dict[str, list[str]] = {}
    for one in prepared:
        for note in one.notes:
            about.setdefault(note, []).append(one.item.name)
    return [f"{note} ({some(names)})" for note, names in about.items()]


def _prepare_all(order: list[Item], recipe: Recipe, notes: list[str], tell: Progress) -> Iterator[Prepared]:
    """Prepare one after another; the first decides on the sample rate."""
    for item in order:
        try:
            prepared = prepare(item, recipe)
        except UnusableItemError as error:
            notes.append(f"left out {error}")
            continue
        recipe = replace(recipe, sample_rate=_rate(prepared))
        tell(item.name)
        yield prepared


def _gold(pool: list[Item], recipe: Recipe, tell: Progress) -> list[Prepared]:
    alone = [Item(item.name, item.reference, {}) for item in pool]
    made = _prepare_all(alone, recipe, [], tell)
    return [prepared for prepared, _ in zip(made, range(_MOST_GOLD_ITEMS), strict=False)]


def _rate(prepared: Prepared) -> int:
    return prepared.sounds[0].sample_rate
