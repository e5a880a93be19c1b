"""Folders of outputs that no network made, from recordings: the floor under every vocoder."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffwave.errors import InputError, one_line, reason
from diffwave.evaluation.pairs import audio_files
from diffwave.evaluation.record import Result, record

if TYPE_CHECKING:
    from diffwave.mel.spectrogram import MelSpectrogram


@dataclass(frozen=True)
class BaselineSettings:
    """How outputs without any network are made.

    Args:
        baseline: ``griffin-lim``, ``mel-consistency`` or ``copy``.
        iterations: of the first two.
        mel: preset of the mel that they start from.
    """

    baseline: str
    iterations: int
    mel: str


SYSTEMS = ("griffin-lim", "mel-consistency", "copy")


def make_all(reference: Path, output: Path, settings: BaselineSettings, force: bool) -> tuple[list[Result], list[str]]:
    """Make the outputs of a system for every recording of a folder.

    Args:
        reference: folder of the recordings.
        output, settings: as for :func:`make`, which also says what is returned.
        force: whether outputs that are there may be replaced.

    Raises:
        InputError: if there are no recordings, or an output is one of them, or is there.
    """
    recordings = audio_files(reference, "--reference")
    sources = {os.path.realpath(path) for path in recordings.values()}
    outputs = [output / f"{key}.wav" for key in recordings]
    for path in outputs:
        if os.path.realpath(path) in sources:
            raise InputError(f"{path}: expected an output that is no recording; choose another --output")
    existing = [path for path in outputs if path.exists()]
    if existing and not force:
        raise InputError(f"{existing[0]}: expected a file that is not there yet; --force replaces it")
    return make(recordings, output, settings)


def make(recordings: dict[str, Path], output: Path, settings: BaselineSettings) -> tuple[list[Result], list[str]]:
    """Write ``output/KEY.wav`` for every recording, and the record of it.

    Args:
        recordings: by relative path without suffix.
        output: folder, made if missing.
        settings: the system.

    Returns:
        What was written, and a line for each recording that could not be used (it is on stderr too).
    """
    from tqdm import tqdm

    results: list[Result] = []
    errors: list[str] = []
    progress = tqdm(recordings.items(), unit="file", desc=settings.baseline, disable=None, file=sys.stderr, leave=False)
    try:
        for result in _outputs(progress, output, settings):
            if isinstance(result, Result):
                results.append(result)
            else:
                errors.append(result)
                tqdm.write(f"diffwave baseline: {one_line(result)}", file=sys.stderr)
    finally:
        failure = record(output, asdict(settings), results) if results else ""
    if failure:
        errors.append(failure)
        print(f"diffwave baseline: {one_line(failure)}", file=sys.stderr)
    return results, errors


def _outputs(
    recordings: Iterable[tuple[str, Path]], output: Path, settings: BaselineSettings
) -> Iterator[Result | str]:
    """What was written, or why not, one recording after the other."""
    from diffwave.config import CONVENTIONS
    from diffwave.mel.consistency import MelConsistency
    from diffwave.mel.spectrogram import MelSpectrogram

    front_end = MelSpectrogram(CONVENTIONS[settings.mel].mel)
    try:
        MelConsistency(front_end)
    except ValueError as error:
        raise InputError(f"--mel {settings.mel}: {error}") from None
    for key, source in recordings:
        yield _make_one(source, output / f"{key}.wav", front_end, settings)


def _make_one(source: Path, path: Path, front_end: MelSpectrogram, settings: BaselineSettings) -> Result | str:
    import torch

    from diffwave.audio.checks import AudioError
    from diffwave.audio.file import read_samples, write_wav
    from diffwave.mel.baseline import copy_synthesis

    try:
        samples, rate, _ = read_samples(source)
        begun = time.perf_counter()
        wav = copy_synthesis(front_end, samples, rate, settings.baseline, settings.iterations)
        elapsed = time.perf_counter() - begun
        path.parent.mkdir(parents=True, exist_ok=True)
        clipped = write_wav(path, torch.from_numpy(wav), rate)
    except AudioError as error:
        return str(error)
    except OSError as error:
        return f"{source}: {path} cannot be written; {reason(error)}"
    except MemoryError:
        return f"{source}: not enough memory; cut it into shorter files"
    notes = [f"{clipped} samples clipped"] if clipped else []
    return Result(source, path, len(wav) / rate, elapsed, notes)
