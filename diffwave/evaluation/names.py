"""Which names of two folders mean the same utterance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath


def match_names(references: Collection[str], names: Iterable[str]) -> dict[str, str]:
    """Which reference each name belongs to; names that belong to none are left out.

    Names are relative paths without suffix. Where none of them is a reference's, the last parts of the paths are
    compared, as far as they are there once on either side: ``61/70968/x`` against ``x``.
    """
    names = list(names)
    same = {name: name for name in names if name in references}
    if same:
        return same
    ours, theirs = _by_last_part(references), _by_last_part(names)
    return {name: ours[last] for last, name in theirs.items() if last in ours}


def _by_last_part(names: Iterable[str]) -> dict[str, str]:
    """Names by the last part of their path, where it is there once."""
    lasts = {name: PurePosixPath(name).name for name in names}
    counts = Counter(lasts.values())
    return {last: name for name, last in lasts.items() if counts[last] == 1}
