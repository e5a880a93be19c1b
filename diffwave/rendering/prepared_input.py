"""An input file on its way to synthesis: read, made sure of, turned into a mel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from diffwave.audio.file import read_audio
from diffwave.config import ConfigError
from diffwave.errors import InputError
from diffwave.mel.mel_file import read_mel, received, resemblance
from diffwave.rendering.plan import FileJob, input_suffixes
from diffwave.vocoder import Vocoder


@dataclass(frozen=True, eq=False)
class PreparedInput:
    """A job with its mel, ready to be synthesized.

    Args:
        job: what to read and write.
        vocoder: of the mel's convention.
        mel: ``[M, F]``.
        samples: length of the output.
        notes: what was done to the input.
    """

    job: FileJob
    vocoder: Vocoder
    mel: Tensor
    samples: int
    notes: list[str]


def prepare(vocoder: Vocoder, job: FileJob) -> PreparedInput:
    """Read an input and make sure of its mel; raises AudioError, InputError or OSError."""
    if job.is_mel:
        vocoder, mel, notes = mel_of(vocoder, job.source)
        return PreparedInput(job, vocoder, mel, mel.shape[1] * vocoder.hop_length, notes)
    audio = read_audio(job.source, vocoder.sample_rate)
    shortest = vocoder.front_end.config.win_length
    if len(audio.wav) < shortest:
        expected = f"expected at least one frame, {shortest} samples at {vocoder.sample_rate} Hz"
        raise InputError(f"{job.source}: {expected}; got {len(audio.wav)}")
    mel = vocoder.mel(audio.wav)
    peak = float(audio.wav.abs().max())
    try:
        vocoder.front_end.check_range(mel.unsqueeze(0))
    except ValueError as error:
        if peak <= 1:
            raise InputError(f"{job.source}: {error}") from None
        # Such as 16-bit numbers stored as floats; a list of mel values would not help.
        raise InputError(f"{job.source}: expected samples in [-1, 1]; got a peak of {peak:.3g}") from None
    conversion = audio.conversion()
    return PreparedInput(job, vocoder, mel, len(audio.wav), [conversion] if conversion else [])


def mel_of(vocoder: Vocoder, path: Path) -> tuple[Vocoder, Tensor, list[str]]:
    """Who speaks a file's mel, the vocoder or its like for the convention that it carries; the mel ``[M, F]``; notes.

    Raises:
        InputError: if it cannot be used, or carries another convention than the vocoder was asked to speak.
    """
    file = read_mel(path)
    convention = file.read_as(vocoder.convention, vocoder.named)
    try:
        if convention.mel != vocoder.front_end.config:
            vocoder = vocoder.with_mel(convention)
        mel = received(file.mel, convention, vocoder.front_end)
    except (ConfigError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    said = resemblance(mel, convention)
    return vocoder, mel, [said] if said else []


def read_input(vocoder: Vocoder, path: Path) -> tuple[Tensor, int, list[str]]:
    """Mel ``[M, F]``, samples of the output, and notes, of an input alone.

    Raises:
        AudioError, InputError, OSError: as :func:`prepare`; also for a suffix of neither audio nor mel, and for a mel
            that carries another convention.
    """
    if path.suffix.lower() not in input_suffixes():
        raise InputError(f"expected audio or a mel ({' '.join(input_suffixes())}); got {path.name}")
    prepared = prepare(vocoder, FileJob(path, Path()))
    if prepared.vocoder is not vocoder:
        name = prepared.vocoder.convention.name
        raise InputError(f"{path}: expected mels of {vocoder.convention.name}; it carries {name} (--mel {name})")
    return prepared.mel, prepared.samples, prepared.notes
