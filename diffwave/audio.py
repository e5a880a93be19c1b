"""Audio files: read, check, mix down, resample, write.

Samples are float32 in ``[-1, 1]``. Reading goes through soundfile (libsndfile), resampling through soxr;
torchaudio's own ``load`` would need torchcodec and FFmpeg.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffwave.files import atomic_path

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".mp3", ".aiff", ".aif")
RESAMPLER = "soxr_hq"


class AudioError(ValueError):
    """A file that is not usable audio; the message names it and says what was expected."""


def import_torchaudio() -> types.ModuleType:
    """Import torchaudio, or say in one line what to install.

    Raises:
        ImportError: if it is missing, or was built for another PyTorch (an OSError or RuntimeError of the
            dynamic loader).
    """
    try:
        import torchaudio
    except (ImportError, OSError, RuntimeError) as error:
        raise ImportError(
            "torchaudio cannot be imported with this PyTorch "
            f"({torch.__version__}): {str(error).splitlines()[0]} - install a pair that fits: "
            "pip install 'torch>=2.11,<2.15' 'torchaudio>=2.11,<2.12' "
            "(both from the same index: CPU builds of one do not load CUDA builds of the other)"
        ) from None
    return torchaudio


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
        parts = []
        if self.source_channels > 1:
            parts.append(f"mixed down from {self.source_channels} channels")
        if self.source_rate != self.sample_rate:
            parts.append(f"resampled from {self.source_rate} to {self.sample_rate} Hz")
        return ", ".join(parts)


def read_audio(path: Path, sample_rate: int | None = None) -> Audio:
    """Read a file as one channel, resampled if asked.

    Args:
        path: any file that libsndfile reads.
        sample_rate: wanted rate in Hz; the file's own if not given.

    Raises:
        AudioError: if the file is missing, empty, not audio, truncated, or holds NaN or infinite samples.
    """
    samples, rate = _read_samples(path)
    channels = samples.shape[1]
    # Sum, do not squeeze: a stereo file with one silent side must not become half a file.
    mono = samples.mean(axis=1, dtype=np.float32)
    wanted = sample_rate or rate
    if wanted != rate:
        mono = resample(mono, rate, wanted)
    return Audio(torch.from_numpy(np.ascontiguousarray(mono)), wanted, rate, channels)


def _read_samples(path: Path) -> tuple[np.ndarray, int]:
    """All samples ``[N, channels]`` as float32, and the rate; raises AudioError."""
    import soundfile

    if not path.is_file():
        raise AudioError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: expected audio; the file is empty (0 bytes)")
    try:
        with soundfile.SoundFile(path) as file:
            expected, rate = file.frames, file.samplerate
            samples: np.ndarray = file.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).replace(str(path), "").strip(" :'\"") or type(error).__name__
        raise AudioError(f"{path}: expected audio that libsndfile can read; {reason}") from None
    if len(samples) < expected:
        raise AudioError(
            f"{path}: expected {expected} samples by its header; the data ends after {len(samples)} (truncated file)"
        )
    if len(samples) == 0:
        raise AudioError(f"{path}: expected audio; the file holds no samples")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: expected finite samples; got NaN or infinity")
    return samples, rate


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
        OSError: if the folder cannot be written.
    """
    import soundfile

    samples = wav.detach().float().cpu().numpy()
    clipped = int((np.abs(samples) > 1).sum())
    with atomic_path(path) as temporary:
        soundfile.write(
            temporary, np.clip(samples, -1, 1), sample_rate, format="WAV", subtype="PCM_16"
        )
    return clipped
