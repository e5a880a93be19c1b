"""What a report says of its statistics and its screening: each by name, with its source and what it assumes."""

from __future__ import annotations

from diffwave.listening.formats import BS1116, DETECTION

_TWO_WAY = (
    "Ratings share listeners and items, and both are a few drawn from many, so ratings are not independent. All "
    "intervals not marked otherwise are 95 % t intervals of a model with crossed random effects of listeners and "
    "items: the variance of the mean is (MS listeners + MS items − MS residual) / n of the two-way analysis of "
    "variance, for incomplete tables by the corresponding differences of pairs, with Satterthwaite's (1946) degrees of "
    "freedom. It needs at least two listeners and two items."
)
_HOLM = "p values are adjusted for the number of comparisons in their table by Holm's (1979) step-down method."
_WILCOXON = (
    "Differences are taken within listener and item. Their test is Wilcoxon's signed-rank test (1945) on the "
    "listeners' mean differences, one value for each listener; it needs six listeners."
)
_SHARE = (
    "Shares are given twice. “If independent”, as if nothing were shared: the exact two-sided binomial test against "
    "one half, and Wilson's (1927) interval. Else Wilson's interval with the effective number of answers "
    "p (1 − p) / Var(p), the variance as below, and Wilcoxon's signed-rank test on the listeners' shares against one "
    "half (“p of listeners”). Trust the latter: the answers of one listener are more alike than those of several."
)


def methods_text(method: str) -> list[str]:
    """Paragraphs on the statistics of a method."""
    return [*_OF[method], _HOLM]


def screening_text(method: str) -> str:
    """Who is left out, in words."""
    if method == "mushra":
        return (
            "Post-screening of ITU-R BS.1534-3, 4.1.2: a listener is left out who rates the hidden reference below 90 "
            "on more than 15 % of the items, or the mid anchor above 90 on more than 15 % of them. Items whose anchor "
            "more than 25 % of the listeners rate above 90 do not count for the second rule. Where a test has no mid "
            "anchor, this package applies the second rule to the 3.5 kHz anchor, where it is milder."
        )
    fast = "more than 15 % of the pages last shorter than the stimulus"
    if method == "acr":
        return (
            "Rules of this package, in the spirit of ITU-T P.808's consistency checks: a listener is left out if the "
            "hidden reference gets less than the lowest anchor on average, if all votes are the same, if the votes "
            "have nothing to do with the mean vote of the others (of at least 20 votes; correlation not above 0 and "
            f"below the listeners' median correlation, both at p = 0.01), or if {fast}."
        )
    if method == BS1116:
        return (
            "As in ITU-R BS.1116-3: a listener is left out whose difference grades are not below 0 (one-sided t test, "
            f"5 %), or, a rule of this package, if {fast}."
        )
    return (
        "Rules of this package: a listener is left out who always gave the same answer (of 6 or more; not if it is "
        f"“no difference”), or if {fast}."
    )


_OF = {
    "mushra": [
        "MUSHRA after ITU-R BS.1534-3: 0 to 100. Median and quartiles as the Recommendation defines them.",
        _TWO_WAY,
        _WILCOXON,
    ],
    "acr": [
        "Absolute category rating after ITU-T P.800 and P.808: the mean opinion score (MOS) is the mean of all votes "
        "from 1 to 5. “If independent” is the interval that P.808 reports, Student's of the votes.",
        _TWO_WAY,
        _WILCOXON,
    ],
    BS1116: [
        "Difference grades after ITU-R BS.1116-3: the score of the system minus that of the hidden reference on the "
        "same page, each from 1 to 5. 0: not to be told apart.",
        _TWO_WAY,
        _WILCOXON,
    ],
    "ab": [
        "A preference between two systems. Answers without a preference are counted and shown apart; shares are of the "
        "others.",
        _SHARE,
        _TWO_WAY,
    ],
    "cmos": [
        "Comparison category rating after ITU-T P.800, −3 to 3, with the sign corrected for the order in which the two "
        "were played: positive where the first system is better.",
        _TWO_WAY,
        "The test against 0 is Wilcoxon's signed-rank test (1945) on the listeners' means; it needs six listeners.",
    ],
    "abx": ["Which of two sounds is X? Guessing is right half of the time.", _SHARE, _TWO_WAY],
    DETECTION: [
        "webMUSHRA's paired comparison: which of two sounds is the reference? Guessing is right half of the time; "
        "“undecided” is counted and shown apart.",
        _SHARE,
        _TWO_WAY,
    ],
}
