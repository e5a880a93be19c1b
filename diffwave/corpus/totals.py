"""A corpus in figures: hours, speakers, lengths, levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffwave.corpus.inspection import CLIPPED_LEVEL, CLIPPED_RUN, Inspection
from diffwave.corpus.manifest import Utterance, hours

OFFSET = 0.01
DEFINITIONS = {
    "level_dbfs": "RMS of an utterance without its mean in dB, full scale 1: 5 %, median and 95 % of the utterances",
    "peak": "largest absolute sample, full scale 1",
    "clipped": f"utterances with {CLIPPED_RUN} or more equal samples in a row of at least {CLIPPED_LEVEL}",
    "dc_offset": "largest absolute mean of an utterance, full scale 1",
    "with_dc_offset": f"utterances whose mean is above {OFFSET}",
}


def summarize(utterances: Sequence[Utterance], found: Mapping[Path, Inspection]) -> dict[str, Any]:
    """Figures of some utterances.

    Args:
        utterances: one or more.
        found: what is in their files.
    """
    seconds = [utterance.seconds for utterance in utterances]
    inspections = [found[utterance.path] for utterance in utterances]
    low, middle, high = np.percentile([inspection.level for inspection in inspections], [5, 50, 95])
    return {
        "hours": hours(utterances),
        "utterances": len(utterances),
        "speakers": len({utterance.speaker for utterance in utterances}),
        "seconds": {"min": min(seconds), "median": float(np.median(seconds)), "max": max(seconds)},
        "level_dbfs": {"p5": float(low), "median": float(middle), "p95": float(high)},
        "peak": max(inspection.peak for inspection in inspections),
        "clipped": sum(inspection.clipped > 0 for inspection in inspections),
        "dc_offset": max(abs(inspection.mean) for inspection in inspections),
        "sample_rates": sorted({utterance.sample_rate for utterance in utterances}),
        "channels": sorted({inspection.channels for inspection in inspections}),
    }


def summarize_split(utterances: Sequence[Utterance], found: Mapping[Path, Inspection]) -> dict[str, Any]:
    """Figures of a split, and of each subset in it."""
    subsets: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        subsets.setdefault(utterance.subset, []).append(utterance)
    return {
        **summarize(utterances, found),
        "subsets": {name: summarize(some, found) for name, some in sorted(subsets.items()) if name},
    }
