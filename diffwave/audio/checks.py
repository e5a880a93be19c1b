"""What is refused as audio, and why: errors, limits for files of strangers, and headers that promise too much."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from diffwave.errors import UserError

_LOWEST_RATE = 1000  # Hz
# libsndfile gives 2^63 - 1 where a header has no length.
UNKNOWN_FRAMES = 1 << 62
# Some writers put the size of the file, header included, where the size of the data belongs.
_SLOPPY_BYTES = 64


class AudioError(UserError, ValueError):
    """A file that is not usable audio; the message names it and says what was expected."""


class AudioTooLargeError(AudioError):
    """Audio that is longer, or of more channels or a higher rate, than somebody allows."""


@dataclass(frozen=True)
class AudioLimits:
    """What audio from strangers may be.

    Args:
        seconds: longest duration. A megabyte of FLAC can hold hours of silence.
        channels: most channels.
        sample_rate: highest rate in Hz.
    """

    seconds: float
    channels: int = 8
    sample_rate: int = 192_000

    def check(self, name: object, frames: int, rate: int, channels: int) -> None:
        """Refuse what is beyond a limit; raises AudioTooLargeError."""
        if channels > self.channels:
            raise AudioTooLargeError(f"{name}: expected at most {self.channels} channels; got {channels}")
        if rate > self.sample_rate:
            raise AudioTooLargeError(f"{name}: expected at most {self.sample_rate} Hz; got {rate} Hz")
        if frames > self.seconds * rate:
            raise AudioTooLargeError(f"{name}: expected at most {self.seconds:g} s of audio; got more")


def check_samples(name: object, mono: np.ndarray, total: int, rate: int) -> None:
    """Refuse samples that are not finite, or none at all, or at a rate that is none of audio.

    Args:
        name: of the file, for messages.
        mono: samples ``[N]``, perhaps a part of the file's.
        total: how many there are so far.
        rate: in Hz.
    """
    if total == 0:
        raise AudioError(f"{name}: expected audio; the file holds no samples")
    if not np.isfinite(mono).all():
        raise AudioError(f"{name}: expected finite samples; got NaN or infinity")
    if rate < _LOWEST_RATE:
        # Resampling 1 Hz to 16 kHz would make 16000 samples of each.
        raise AudioError(f"{name}: expected a sample rate of at least {_LOWEST_RATE} Hz; got {rate} Hz")


def check_complete(name: object, file: Any, samples: int) -> None:
    """Refuse a file that ended before its header said."""
    if samples < file.frames < UNKNOWN_FRAMES:
        raise AudioError(
            f"{name}: expected {file.frames} samples by its header; the data ends after {samples} (truncated file)"
        )


def check_size(path: Path) -> None:
    """Refuse what is no file, is empty, or is shorter than its header says."""
    try:
        if not path.is_file():
            raise AudioError(f"{path}: expected an audio file; there is no such file")
        if path.stat().st_size == 0:
            raise AudioError(f"{path}: expected audio; the file is empty (0 bytes)")
        with path.open("rb") as file:
            claimed, there = data_size(file, path.stat().st_size)
    except OSError as error:
        raise AudioError(f"{path}: expected audio that can be read; {error.strerror or error}") from None
    check_data_size(path, claimed, there)


def check_data_size(name: object, claimed: int, there: int) -> None:
    """Refuse what holds fewer bytes of samples than its header says (:func:`data_size`)."""
    if claimed - there > _SLOPPY_BYTES:
        raise AudioError(f"{name}: expected {claimed} bytes of samples by its header; got {there} (truncated file)")


def data_size(file: BinaryIO, size: int) -> tuple[int, int]:
    """Bytes of samples that a WAV or AIFF header claims, and how many follow it; ``(0, 0)`` if it does not say.

    libsndfile reads a truncated file of these formats as if it were whole.
    """
    order = {b"RIFF": "<4sI", b"FORM": ">4sI"}.get(file.read(12)[:4])
    position = 12
    while order and len(header := file.read(8)) == 8:
        name, claimed = struct.unpack(order, header)
        position += 8
        if name in (b"data", b"SSND"):
            return (0, 0) if _is_streamed(claimed) else (claimed, size - position)
        position = file.seek(position + claimed + claimed % 2)  # chunks begin at even positions
    return 0, 0


def _is_streamed(claimed: int) -> bool:
    """Whether a size is what programs write that cannot know it: all ones (FFmpeg), just below 2^31 (SoX)."""
    return claimed == 0xFFFFFFFF or 0x7FFFF000 - 64 <= claimed <= 0x7FFFFFFF
