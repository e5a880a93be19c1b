"""What the text of one answer is worth as a number."""

from __future__ import annotations

import math

from diffwave.listening.formats import BS1116, DETECTION, Answer

SCALES = {"mushra": (0.0, 100.0), "acr": (1.0, 5.0), "cmos": (-3.0, 3.0), BS1116: (1.0, 5.0)}


class UnusableAnswerError(ValueError):
    """An answer that cannot be used; the message says why."""


def choice_score(answer: Answer, turned: bool) -> float:
    """How much the first system is preferred, or how right a choice was; NaN for no preference.

    Args:
        answer: of a comparison.
        turned: whether the first system was shown as B.

    Raises:
        UnusableAnswerError: if it is none of the answers that its method has.
    """
    if answer.method == "cmos":
        # The answer says how much better B is than A.
        score = number(answer.answer, SCALES["cmos"])
        return score if turned else -score
    if answer.method == DETECTION:
        return _one_of(answer.answer, {"correct": 1.0, "incorrect": 0.0, "undecided": math.nan, "unknown": math.nan})
    if answer.method == "ab":
        return _one_of(answer.answer, {"a": 1.0 - turned, "b": 0.0 + turned, "none": math.nan})
    if answer.x not in (answer.stimulus, answer.other):
        raise UnusableAnswerError(f"expected X to be A or B; got {answer.x!r}")
    right = "a" if answer.x == answer.stimulus else "b"
    return _one_of(answer.answer, {"a": 0.0, "b": 0.0} | {right: 1.0})


def _one_of(answer: str, scores: dict[str, float]) -> float:
    if answer not in scores:
        raise UnusableAnswerError(f"expected an answer {', '.join(scores)}; got {answer!r}")
    return scores[answer]


def number(text: str, scale: tuple[float, float]) -> float:
    """A score within a scale's ends.

    Raises:
        UnusableAnswerError: if it is no number or lies outside.
    """
    low, high = scale
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise UnusableAnswerError(f"expected a score from {low:g} to {high:g}; got {text!r}")
    return value
