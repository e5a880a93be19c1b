"""Audio files: read, check, mix down, resample, write.

Samples are float32 in ``[-1, 1]``. Reading goes through soundfile (libsndfile), resampling through soxr;
torchaudio's own ``load`` would need torchcodec and FFmpeg. Reading as numpy (:func:`read_samples`) does not import
torch, so that processes which only score files start quickly.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from diffwave.files import atomic_path

if TYPE_CHECKING:
    from torch import Tensor

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".mp3", ".aiff", ".aif")
RESAMPLER = "soxr_hq"
_LOWEST_RATE = 1000  # Hz
_BLOCK = 1 << 18
# libsndfile gives 2^63 - 1 where a header has no length.
_UNKNOWN_FRAMES = 1 << 62
# Some writers put the size of the file, header included, where the size of the data belongs.
_SLOPPY_BYTES = 64


class AudioError(ValueError):
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


def import_torchaudio() -> types.ModuleType:
    """Import torchaudio, or say in one line what to install.

    Raises:
        ImportError: if it is missing, or was built for another PyTorch (an OSError or RuntimeError of the
            dynamic loader).
    """
    try:
        import torchaudio
    except (ImportError, OSError, RuntimeError) as error:
        import torch

        raise ImportError(
            "torchaudio cannot be imported with this PyTorch "
            f"({torch.__version__}): {str(error).splitlines()[0]} - install a pair that fits: "
            "pip install 'torch>=2.11,<2.15' 'torchaudio>=2.11,<2.12' "
            "(both from the same index: CPU builds of one do not load CUDA builds of the other)"
        ) from None
    module: types.ModuleType = torchaudio
    return module


@dataclass(frozen=True, eq=False)
class Audio:
    """One channel of audio and what it was made from.

    Args:
        wav: samples, float32, shape ``[N]``.
        sample_rate: of ``wav``, in Hz.
        source_rate, source_channels: of the file.
    """

    wav: Tensor
    sample_rate: int
    source_rate: int
    source_channels: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.wav.shape[-1] / self.sample_rate

    def conversion(self) -> str:
        """What was done to the file's samples, in words; empty if nothing."""
        return conversion(self.source_rate, self.source_channels, self.sample_rate)


def conversion(source_rate: int, source_channels: int, sample_rate: int) -> str:
    """What makes one channel at a rate of a file, in words; empty if nothing."""
    parts = []
    if source_channels > 1:
        parts.append(f"mixed down from {source_channels} channels")
    if source_rate != sample_rate:
        parts.append(f"resampled from {source_rate} to {sample_rate} Hz")
    return ", ".join(parts)


def read_audio(path: Path, sample_rate: int | None = None) -> Audio:
    """Read a file as one channel, resampled if asked.

    Args:
        path: any file that libsndfile reads.
        sample_rate: wanted rate in Hz; the file's own if not given.

    Raises:
        AudioError: if the file is missing, empty, not audio, truncated, or holds NaN or infinite samples.
    """
    return _converted(*read_samples(path), sample_rate)


def decode_audio(data: bytes, limits: AudioLimits, sample_rate: int | None = None) -> Audio:
    """Read a file in memory as :func:`read_audio` would; decoding stops at a limit, whatever its header says.

    Args:
        data: the whole file.
        limits: what it may be.
        sample_rate: wanted rate in Hz; its own if not given.

    Raises:
        AudioTooLargeError: if it is beyond a limit.
        AudioError: as :func:`read_audio`.
    """
    if not data:
        raise AudioError("audio: expected audio; the file is empty (0 bytes)")
    file = _MemoryFile(data)
    _compare("audio", *_data_size(file, len(data)))
    file.seek(0)
    return _converted(*_checked("audio", *_read_mono("audio", file, limits)), sample_rate)


def _converted(mono: np.ndarray, rate: int, channels: int, sample_rate: int | None) -> Audio:
    import torch

    wanted = sample_rate or rate
    if wanted != rate:
        mono = resample(mono, rate, wanted)
    return Audio(torch.from_numpy(np.ascontiguousarray(mono)), wanted, rate, channels)


def read_samples(path: Path) -> tuple[np.ndarray, int, int]:
    """Read a file as one channel at its own rate: samples ``[N]`` in float32, rate in Hz, channels of the file.

    Raises:
        AudioError: as :func:`read_audio`.
    """
    check_size(path)
    # As bytes, since a name need not be valid UTF-8.
    return _checked(path, *_read_mono(path, os.fsencode(path), None))


def _checked(name: object, mono: np.ndarray, rate: int, channels: int) -> tuple[np.ndarray, int, int]:
    check_samples(name, mono, len(mono), rate)
    return mono, rate, channels


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


def _read_mono(name: object, source: bytes | BinaryIO, limits: AudioLimits | None) -> tuple[np.ndarray, int, int]:
    """Mean of the channels as float32 ``[N]``, sample rate and number of channels; raises AudioError."""
    with opened(name, source) as file:
        mono = np.concatenate([np.zeros(0, np.float32), *mono_blocks(name, file, limits)])
        check_complete(name, file, len(mono))
        return mono, file.samplerate, file.channels


@contextlib.contextmanager
def opened(name: object, source: bytes | BinaryIO) -> Iterator[Any]:
    """A ``soundfile.SoundFile``; what it and reading from it complain of becomes an AudioError.

    Args:
        name: for messages.
        source: a path as bytes, since a name need not be valid UTF-8; or a file.
    """
    import soundfile

    try:
        with soundfile.SoundFile(source) as file:
            yield file
    except AudioError:
        raise
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError, OSError) as error:
        said = getattr(error, "error_string", str(error)).strip(" .").removeprefix("Error : ")
        raise AudioError(f"{name}: expected audio that libsndfile can read; {said} (damaged or no audio?)") from None


def check_complete(name: object, file: Any, samples: int) -> None:
    """Refuse a file that ended before its header said."""
    if samples < file.frames < _UNKNOWN_FRAMES:
        raise AudioError(
            f"{name}: expected {file.frames} samples by its header; the data ends after {samples} (truncated file)"
        )


def mono_blocks(name: object, file: Any, limits: AudioLimits | None) -> Iterator[np.ndarray]:
    """Read block by block: a header may claim more samples than there is memory for.

    Args:
        name: of the file, for messages.
        file: a ``soundfile.SoundFile``.
        limits: what it may be.
    """
    done = 0
    if limits is not None:
        claimed = file.frames if file.frames < _UNKNOWN_FRAMES else 0
        limits.check(name, claimed, file.samplerate, file.channels)
    # soundfile seeks after every block it reads. That fails where the header has no length (FLAC from a pipe) and
    # is not exact for MP3; reading forwards needs none of it.
    file.seekable = lambda: False
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        # The mean of all channels: a stereo file with one silent side must not become silence.
        with np.errstate(over="ignore", invalid="ignore"):
            yield block.mean(axis=1, dtype=np.float32)
        done += len(block)
        if limits is not None:
            limits.check(name, done, file.samplerate, file.channels)


class _MemoryFile(io.BytesIO):
    """Bytes that a C library reads as a file: an impossible position is refused without an exception.

    libsndfile goes where a damaged header sends it, and an exception inside its callback would be printed.
    """

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position from 0 on, or stay where we are."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: len(self.getbuffer())}.get(whence, 0)
        if not 0 <= base + offset < 1 << 62:
            return self.tell()
        return super().seek(base + offset)


def check_size(path: Path) -> None:
    """Refuse what is no file, is empty, or is shorter than its header says."""
    try:
        if not path.is_file():
            raise AudioError(f"{path}: expected an audio file; there is no such file")
        if path.stat().st_size == 0:
            raise AudioError(f"{path}: expected audio; the file is empty (0 bytes)")
        with path.open("rb") as file:
            claimed, there = _data_size(file, path.stat().st_size)
    except OSError as error:
        raise AudioError(f"{path}: expected audio that can be read; {error.strerror or error}") from None
    _compare(path, claimed, there)


def _compare(name: object, claimed: int, there: int) -> None:
    if claimed - there > _SLOPPY_BYTES:
        raise AudioError(f"{name}: expected {claimed} bytes of samples by its header; got {there} (truncated file)")


def _data_size(file: BinaryIO, size: int) -> tuple[int, int]:
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


def resample(wav: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Resample ``[N]`` from ``rate`` to ``wanted`` Hz with soxr (high quality), ``[ceil(N * wanted / rate)]``."""
    import soxr

    resampled: np.ndarray = soxr.resample(wav, rate, wanted, quality="HQ")
    return resampled.astype(np.float32)


def write_wav(path: Path, wav: Tensor, sample_rate: int) -> int:
    """Write ``[N]`` as 16-bit PCM WAV, whole or not at all.

    Returns:
        How many samples had to be clipped to ``[-1, 1]``.

    Raises:
        AudioError: if a sample is NaN or infinite.
        OSError: if the folder cannot be written or the disk is full.
    """
    try:
        data, clipped = encode_audio(wav, sample_rate)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return clipped


def encode_audio(wav: Tensor, sample_rate: int, file_format: str = "wav") -> tuple[memoryview, int]:
    """The bytes of a file with 16-bit samples of ``[N]``, and how many had to be clipped to ``[-1, 1]``.

    Args:
        wav: samples, shape ``[N]``.
        sample_rate: in Hz.
        file_format: ``wav`` or ``flac``.

    Raises:
        AudioError: if a sample is NaN or infinite.
    """
    import soundfile

    samples = wav.detach().float().cpu().numpy()
    if not np.isfinite(samples).all():
        raise AudioError("expected finite samples to write; got NaN or infinity")
    clipped = int((np.abs(samples) > 1).sum())
    # Through memory: libsndfile does not say why it could not write.
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), sample_rate, format="WAV", subtype="PCM_16")
    if file_format == "wav":
        return buffer.getbuffer(), clipped
    # libsndfile rounds otherwise for FLAC; the samples of both are to be the same.
    buffer.seek(0)
    integers, _ = soundfile.read(buffer, dtype="int16")
    compressed = io.BytesIO()
    soundfile.write(compressed, integers, sample_rate, format=file_format.upper(), subtype="PCM_16")
    return compressed.getbuffer(), clipped
