"""The floor of an evaluation: what the recordings' mels give without any network."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffwave.evaluation.pairs import System

_LONGEST = 30.0  # s; longer recordings are not taken for the floor


def make_floors(systems: list[System], reference: Path, report: Path, count: int, speaker: str) -> list[System]:
    """Griffin-Lim and mel consistency from the recordings themselves, unless a floor is there or declined.

    Args:
        systems: those to be judged.
        reference: folder of the recordings.
        report: folder of the report; the floor's audio goes below it.
        count: utterances of the floor at most; 0 for no floor.
        speaker: as for :func:`diffwave.evaluation.pairs.match`.
    """
    from diffwave.evaluation.pairs import match
    from diffwave.evaluation.summary import FLOORS, is_floor

    if count == 0 or any(is_floor(system) for system in systems):
        return []
    recordings = _floor_recordings(systems[0], count)
    floors = []
    for name in FLOORS:
        folder = report / "floor" / name
        _make_floor(name, recordings, folder)
        if not any((folder / f"{key}.wav").is_file() for key in recordings):
            return []
        (floor,) = match(reference, {name: folder}, speaker)
        pairs = tuple(pair for pair in floor.pairs if pair.estimate.is_file() and pair.utterance in recordings)
        taken = {system.name for system in systems}
        label = name if name not in taken else f"{name} (floor)"
        floors.append(_renamed(floor, label, pairs))
    return floors


def _renamed(system: System, name: str, pairs: tuple[Any, ...]) -> System:
    return replace(system, name=name, pairs=tuple(replace(pair, system=name) for pair in pairs), unmatched=())


def _floor_recordings(system: System, count: int) -> dict[str, Path]:
    """At most ``count`` recordings, spread evenly over all that can be read and are of ordinary length."""
    import soundfile

    def usable(path: Path) -> bool:
        try:
            information = soundfile.info(os.fsencode(path))
        except (soundfile.LibsndfileError, RuntimeError, OSError):
            return False
        return bool(0 < information.duration <= _LONGEST)

    pairs = [pair for pair in system.pairs if usable(pair.reference)]
    stride = max(1, -(-len(pairs) // count))
    return {pair.utterance: pair.reference for pair in pairs[::stride]}


def _make_floor(name: str, recordings: dict[str, Path], folder: Path) -> None:
    """What an interrupted evaluation has made already is kept."""
    from diffwave.baseline import CONSISTENCY_ITERATIONS
    from diffwave.cli.baseline import make
    from diffwave.cli.results import BaselineSettings

    missing = {key: path for key, path in recordings.items() if not (folder / f"{key}.wav").is_file()}
    if missing:
        make(missing, folder, BaselineSettings(name, CONSISTENCY_ITERATIONS, "default"))
