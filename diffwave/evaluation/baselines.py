"""Folders of outputs that no network made, from recordings or mels: the floor under every vocoder."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffwave.config import CONVENTIONS, MelConvention, check_speakable
from diffwave.config.conventions import MEL_SUFFIXES
from diffwave.errors import InputError, one_line, reason
from diffwave.evaluation.pairs import audio_files
from diffwave.evaluation.record import Result, record

if TYPE_CHECKING:
    from torch import Tensor

    from diffwave.mel.spectrogram import MelSpectrogram


@dataclass(frozen=True)
class BaselineSettings:
    """How outputs without any network are made.

    Args:
        baseline: ``griffin-lim``, ``mel-consistency`` or ``copy``.
        iterations: of the first two.
        mel: what they start from; ``default`` if None, but for mel files that carry their convention.
    """

    baseline: str
    iterations: int
    mel: MelConvention | None = None

    @property
    def convention(self) -> MelConvention:
        """What recordings become, and mels are read as."""
        return self.mel or CONVENTIONS["default"]

    def record(self) -> dict[str, Any]:
        """What the outputs depend on, ready for JSON."""
        return {"baseline": self.baseline, "iterations": self.iterations, **self.convention.record()}


FROM_MELS = ("griffin-lim", "mel-consistency")
SYSTEMS = (*FROM_MELS, "copy")


def make_all(reference: Path, output: Path, settings: BaselineSettings, force: bool) -> tuple[list[Result], list[str]]:
    """Make the outputs of a system for every recording of a folder, and for every mel without a recording beside it.

    Args:
        reference: the folder.
        output, settings: as for :func:`make`, which also says what is returned.
        force: whether outputs that are there may be replaced.

    Raises:
        InputError: if there is neither, or an output is one of them, or is there.
    """
    recordings = audio_files(reference, "--reference", instead=MEL_SUFFIXES)
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
        recordings: or mels, by relative path without suffix.
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
        failure = record(output, settings.record(), results) if results else ""
    if failure:
        errors.append(failure)
        print(f"diffwave baseline: {one_line(failure)}", file=sys.stderr)
    return results, errors


def _outputs(
    recordings: Iterable[tuple[str, Path]], output: Path, settings: BaselineSettings
) -> Iterator[Result | str]:
    """What was written, or why not, one recording after the other."""
    from tqdm import tqdm

    from diffwave.mel.mel_file import names_convention

    said = settings.mel is not None
    for key, source in recordings:
        if not said and _is_mel(source) and not names_convention(source):
            said = True
            tqdm.write(f"diffwave baseline: {settings.convention.assumption()}", file=sys.stderr)
        yield _make_one(source, output / f"{key}.wav", settings)


def _is_mel(path: Path) -> bool:
    return path.suffix.lower() in MEL_SUFFIXES


def _make_one(source: Path, path: Path, settings: BaselineSettings) -> Result | str:
    from diffwave.audio.file import write_wav

    try:
        begun = time.perf_counter()
        wav, convention, rate, notes = (_of_mel if _is_mel(source) else _of_recording)(source, settings)
        elapsed = time.perf_counter() - begun
        path.parent.mkdir(parents=True, exist_ok=True)
        clipped = write_wav(path, wav, rate)
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"{source}: {path} cannot be written; {reason(error)}"
    except MemoryError:
        return f"{source}: not enough memory; cut it into shorter files"
    notes += [f"{clipped} samples clipped"] if clipped else []
    return Result(source, path, len(wav) / rate, elapsed, notes, convention.record())


def _of_recording(source: Path, settings: BaselineSettings) -> tuple[Tensor, MelConvention, int, list[str]]:
    """Samples ``[N]``, the convention that they went through, their rate, and notes; raises AudioError."""
    import torch

    from diffwave.audio.file import read_samples
    from diffwave.mel.baseline import copy_synthesis

    samples, rate, _ = read_samples(source)
    wav = copy_synthesis(_front_end(settings.convention), samples, rate, settings.baseline, settings.iterations)
    return torch.from_numpy(wav), settings.convention, rate, []


def _of_mel(source: Path, settings: BaselineSettings) -> tuple[Tensor, MelConvention, int, list[str]]:
    """The same of a mel file; raises InputError or ConfigError."""
    from diffwave.mel.baseline import GRIFFIN_LIM, griffin_lim, mel_consistency
    from diffwave.mel.mel_file import read_mel, received, resemblance

    if settings.baseline not in FROM_MELS:
        raise InputError(f"{source}: expected a recording for --system {settings.baseline}; got a mel")
    file = read_mel(source)
    convention = file.read_as(settings.convention, settings.mel is not None)
    try:
        check_speakable(convention)
        front_end = _front_end(convention)
        mel = received(file.mel, convention, front_end)
    except ValueError as error:
        raise InputError(f"{source}: {error}") from None
    wav = (griffin_lim if settings.baseline == GRIFFIN_LIM else mel_consistency)(front_end, mel, settings.iterations)
    said = resemblance(mel, convention)
    return wav, convention, convention.mel.sample_rate, [said] if said else []


@functools.lru_cache(1)
def _front_end(convention: MelConvention) -> MelSpectrogram:
    from diffwave.mel.spectrogram import MelSpectrogram

    return MelSpectrogram(convention.mel, convention.name)
