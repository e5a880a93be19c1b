"""Audio files: read, check, mix down, resample, write.

Samples are float32 in ``[-1, 1]``. Reading goes through soundfile (libsndfile), resampling through soxr;
torchaudio's own ``load`` would need torchcodec and FFmpeg. Reading as numpy (:func:`read_samples`) does not import
torch, so that processes which only score files start quickly.
"""

from __future__ import annotations

import contextlib
import io
import os
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from diffwave.audio.checks import (
    UNKNOWN_FRAMES,
    AudioError,
    AudioLimits,
    check_complete,
    check_data_size,
    check_samples,
    check_size,
    data_size,
)
from diffwave.audio.pcm import pcm16
from diffwave.files import atomic_path

if TYPE_CHECKING:
    from torch import Tensor

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".mp3", ".aiff", ".aif")
RESAMPLER = "soxr_hq"
_BLOCK = 1 << 18


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
    check_data_size("audio", *data_size(file, len(data)))
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


def mono_blocks(name: object, file: Any, limits: AudioLimits | None) -> Iterator[np.ndarray]:
    """Read block by block: a header may claim more samples than there is memory for.

    Args:
        name: of the file, for messages.
        file: a ``soundfile.SoundFile``.
        limits: what it may be.
    """
    done = 0
    if limits is not None:
        claimed = file.frames if file.frames < UNKNOWN_FRAMES else 0
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
    # As integers: libsndfile rounds floats otherwise for FLAC, and the samples of all formats are to be the same.
    soundfile.write(buffer, pcm16(samples), sample_rate, format=file_format.upper(), subtype="PCM_16")
    return buffer.getbuffer(), clipped
