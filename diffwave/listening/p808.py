"""Tables for the crowdsourcing scripts of microsoft/P.808, which read the addresses of uploaded clips.

Trapping clips are not among them: they hold a spoken message ("please choose bad"), which P.808's own script mixes
from recordings of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from diffwave.listening.design import REFERENCE, SYSTEM, ListeningTest, Trial

# ACR and CCR; the other methods have no counterpart there.
P808_METHODS = {"acr": "acr", "cmos": "ccr"}
_EXCELLENT, _BAD = 5, 1


def tables(test: ListeningTest, base_url: str, gold: Sequence[str], system_order: Sequence[str]) -> dict[str, str]:
    """Make the tables of a test.

    Args:
        test: of method acr or cmos.
        base_url: where the clips will be; may be empty.
        gold: stimuli whose rating is beyond doubt: references (excellent) and anchors (bad).
        system_order: names of the systems; of two, the first is what the other is compared with.

    Returns:
        Text by file name; empty if these scripts cannot run the test (:func:`obstacle` says why).
    """
    if obstacle(test, system_order):
        return {}

    def url(stimulus: str) -> str:
        return f"{base_url.rstrip('/')}/{stimulus}.wav" if base_url else f"{stimulus}.wav"

    if test.method == "cmos":
        rating = [_ordered(test, trial, system_order) for trial in test.trials]
        training = [_ordered(test, trial, system_order) for trial in test.training]
        return {
            "rating_clips.csv": _csv(["rating_clips", "references"], [[url(b), url(a)] for a, b in rating]),
            "training_clips.csv": _csv(
                ["training_clips", "training_references"], [[url(b), url(a)] for a, b in training]
            ),
        }
    kinds = {stimulus.stimulus: stimulus.kind for stimulus in test.stimuli}
    answers = [[url(name), str(_EXCELLENT if kinds[name] == REFERENCE else _BAD)] for name in gold]
    return {
        "rating_clips.csv": _csv(["rating_clips"], [[url(trial.stimuli[0])] for trial in test.trials]),
        "training_clips.csv": _csv(["training_clips"], [[url(trial.stimuli[0])] for trial in test.training]),
        "gold_clips.csv": _csv(["gold_clips", "gold_clips_ans"], answers),
    }


def obstacle(test: ListeningTest, system_order: Sequence[str]) -> str:
    """Why these scripts cannot run the test; empty if they can."""
    if test.method not in P808_METHODS:
        return "P.808's scripts know ACR and CCR only"
    if test.method == "cmos":
        rated = Counter(_ordered(test, trial, system_order)[1] for trial in test.trials)
        if max(rated.values()) > 1:
            return "P.808's results name only the rated clip, and here one is compared with several others"
    return ""


def clips(test: ListeningTest, gold: Iterable[str]) -> list[str]:
    """Stimuli to upload, sorted."""
    return sorted({*gold, *(name for trial in (*test.trials, *test.training) for name in trial.stimuli)})


def _ordered(test: ListeningTest, trial: Trial, system_order: Sequence[str]) -> tuple[str, str]:
    """Of a pair, what is compared with and what is rated: the reference first, then in the order of systems."""
    place = {
        stimulus.stimulus: system_order.index(stimulus.system) if stimulus.kind == SYSTEM else -1
        for stimulus in test.stimuli
    }
    first, second = sorted(trial.stimuli, key=lambda name: place[name])
    return first, second


def _csv(header: list[str], rows: list[list[str]]) -> str:
    # Nothing here needs quotes: addresses are checked, identifiers are letters and digits.
    return "".join(",".join(row) + "\n" for row in [header, *rows])
