"""An input file on its way to synthesis: read, made sure of, turned into a mel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from diffwave.audio.file import read_audio
from diffwave.errors import InputError
from diffwave.rendering.mel_file import read_mel
from diffwave.rendering.plan import FileJob, input_suffixes
from diffwave.vocoder import Vocoder


@dataclass(frozen=True, eq=False)
class PreparedInput:
    """A job with its mel, ready to be synthesized.

    Args:
        job: what to read and write.
        mel: ``[M, F]``.
        samples: length of the output.
        notes: what was done to the input.
    """

    job: FileJob
    mel: Tensor
    samples: int
    notes: list[str]


def prepare(vocoder: Vocoder, job: FileJob) -> PreparedInput:
    """Read an input and make sure of its mel; raises AudioError, InputError or OSError."""
    if job.is_mel:
        mel = read_mel(job.source)
        _check(vocoder.front_end.check, job, mel)
        return PreparedInput(job, mel, mel.shape[1] * vocoder.hop_length, [])
    audio = read_audio(job.source, vocoder.sample_rate)
    shortest = vocoder.config.mel.win_length
    if len(audio.wav) < shortest:
        expected = f"expected at least one frame, {shortest} samples at {vocoder.sample_rate} Hz"
        raise InputError(f"{job.source}: {expected}; got {len(audio.wav)}")
    mel = vocoder.mel(audio.wav)
    peak = float(audio.wav.abs().max())
    try:
        _check(vocoder.front_end.check_range, job, mel)
    except InputError:
        if peak <= 1:
            raise
        # Such as 16-bit numbers stored as floats; a list of mel values would not help.
        raise InputError(f"{job.source}: expected samples in [-1, 1]; got a peak of {peak:.3g}") from None
    conversion = audio.conversion()
    return PreparedInput(job, mel, len(audio.wav), [conversion] if conversion else [])


def _check(check: Callable[[Tensor], None], job: FileJob, mel: Tensor) -> None:
    try:
        check(mel.unsqueeze(0))
    except ValueError as error:
        raise InputError(f"{job.source}: {error}") from None


def read_input(vocoder: Vocoder, path: Path) -> tuple[Tensor, int, list[str]]:
    """Mel ``[M, F]``, samples of the output, and notes, of an input alone.

    Raises:
        AudioError, InputError, OSError: as :func:`prepare`; also for a suffix of neither audio nor mel.
    """
    if path.suffix.lower() not in input_suffixes():
        raise InputError(f"expected audio or a mel ({' '.join(input_suffixes())}); got {path.name}")
    prepared = prepare(vocoder, FileJob(path, Path()))
    return prepared.mel, prepared.samples, prepared.notes
