"""The recordings that schedules are judged by."""

from __future__ import annotations

import os
from pathlib import Path

from diffwave.audio.file import AUDIO_SUFFIXES
from diffwave.errors import InputError
from diffwave.evaluation.pairs import audio_files


def choose_recordings(inputs: list[Path], count: int) -> list[Path]:
    """At most so many recordings, spread evenly over all that the inputs hold, in sorted order.

    Raises:
        InputError: for an input that is no audio, or a folder without any.
        EvaluationError: if a folder has two recordings of one name.
    """
    found: dict[str, Path] = {}
    for path in inputs:
        if path.is_dir():
            files = list(audio_files(path, "recordings").values())
        elif not path.exists():
            raise InputError(f"{path}: no such file or folder")
        elif path.suffix.lower() not in AUDIO_SUFFIXES:
            expected = f"expected audio ({' '.join(AUDIO_SUFFIXES)})"
            raise InputError(f"{path}: {expected}; got {path.suffix or 'no suffix'}")
        else:
            files = [path]
        # The same file twice would count twice.
        found.update({os.path.realpath(file): file for file in files})
    recordings = sorted(found.values())
    chosen = sorted({i * len(recordings) // count for i in range(count)})
    return [recordings[i] for i in chosen]
