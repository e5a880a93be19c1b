"""The floor of an evaluation: what the recordings' mels give without any network."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

from diffwave.config import CONVENTIONS, MelConvention
from diffwave.evaluation.baselines import BaselineSettings, make
from diffwave.evaluation.findings import FLOORS
from diffwave.evaluation.pairs import System, match

_LONGEST = 30.0  # s; longer recordings are not taken for the floor
NOT_WANTED = "none was asked for (--floor 0)"
ALL_FLOORS = "every system here is made without a network"
NOT_MADE = f"no recording of up to {_LONGEST:g} s could be used to make one"


def floor_preset(name: object) -> str:
    """The preset of mels that a floor of ``name``'s starts from: itself, or ``default`` where there can be none."""
    # From a logarithm that is clipped no waveform can be found.
    known = isinstance(name, str) and name in CONVENTIONS
    return str(name) if known else "default"


def floor_mel(systems: list[System]) -> str:
    """The preset of mels that most of the systems were made from, as far as their records say; else ``default``."""
    known = [mel for mel in _mels(systems).values() if floor_preset(mel) == mel]
    return max(known, key=known.count) if known else "default"


def other_mels(systems: list[System]) -> list[str]:
    """A line for each system that was made from other mels than a floor, which says less of it then."""
    floors = {system.name for system in systems if system.origin.get("baseline") in FLOORS}
    mels = _mels(systems)
    return [
        f"{name}: made from mels {own!r}, {floor} from {mels[floor]!r}"
        for name, own in mels.items()
        for floor in mels
        if floor in floors and name not in floors and own != mels[floor]
    ]


def _mels(systems: list[System]) -> dict[str, str]:
    """The preset, or ``other``, of each system whose record names one; copies of recordings have none."""
    found = {system.name: system.origin.get("mel") for system in systems if system.origin.get("baseline") != "copy"}
    return {name: mel for name, mel in found.items() if isinstance(mel, str)}


def make_floors(
    systems: list[System], reference: Path, report: Path, count: int, speaker: str, mel: MelConvention
) -> list[System]:
    """Griffin-Lim and mel consistency from the recordings themselves, unless a floor is there or declined.

    Args:
        systems: those to be judged.
        reference: folder of the recordings.
        report: folder of the report; the floor's audio goes below it.
        count: utterances of the floor at most; 0 for no floor.
        speaker: as for :func:`diffwave.evaluation.pairs.match`.
        mel: convention of the mels that it starts from.
    """
    if count == 0 or any(system.origin.get("baseline") in FLOORS for system in systems):
        return []
    recordings = _floor_recordings(systems[0], count)
    floors = []
    for name in FLOORS:
        # One of other mels, which an evaluation may have left that did not end, is not gone on with.
        folder = report / "floor" / _folder_name(name, mel)
        _make_floor(_settings(name, mel), recordings, folder)
        if not any((folder / f"{key}.wav").is_file() for key in recordings):
            return []
        (floor,) = match(reference, {name: folder}, speaker)
        taken = {system.name for system in systems}
        label = name if name not in taken else f"{name} (floor)"
        # Times are left out: a run that was interrupted gives the same summary as one that was not.
        pairs = tuple(
            replace(pair, system=label, recorded={})
            for pair in floor.pairs
            if pair.estimate.is_file() and pair.utterance in recordings
        )
        floors.append(replace(floor, name=label, pairs=pairs, unmatched=(), origin=_settings(name, mel).record()))
    return floors


def why_none(systems: list[System], count: int) -> str:
    """Why there is no floor under these systems, if there is none."""
    if any(system.origin.get("baseline") in FLOORS for system in systems):
        return ALL_FLOORS
    return NOT_MADE if count else NOT_WANTED


def _folder_name(floor: str, mel: MelConvention) -> str:
    if mel.name == "default":
        return floor
    known = mel.name in CONVENTIONS
    digest = hashlib.sha256(json.dumps(mel.document(), sort_keys=True).encode()).hexdigest()
    return f"{floor}-{mel.name}" if known else f"{floor}-{digest[:8]}"


def _settings(name: str, mel: MelConvention) -> BaselineSettings:
    from diffwave.mel.baseline import CONSISTENCY_ITERATIONS

    return BaselineSettings(name, CONSISTENCY_ITERATIONS, mel)


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
    chosen = sorted({i * len(pairs) // count for i in range(count)}) if len(pairs) > count else range(len(pairs))
    return {pairs[i].utterance: pairs[i].reference for i in chosen}


def _make_floor(settings: BaselineSettings, recordings: dict[str, Path], folder: Path) -> None:
    """What an interrupted evaluation has made already is kept."""
    missing = {key: path for key, path in recordings.items() if not (folder / f"{key}.wav").is_file()}
    if missing:
        make(missing, folder, settings)
