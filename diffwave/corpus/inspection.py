"""What one audio file holds: its length and levels, or why it is no utterance to learn from.

Levels are those of the signal that training hears, channels mixed down, full scale 1. A sample is *clipped* if it
stands in a run of three or more equal samples of at least 0.99 (in any channel): that is how a converter at its limit
looks, while a loud voice passes its peaks one sample at a time. MP3 and Ogg smear such runs, so in them none is seen.
"""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffwave.audio.checks import AudioError
from diffwave.audio.file import read_samples

CLIPPED_LEVEL = 0.99
CLIPPED_RUN = 3  # samples
CRASHED = "crashed the decoder"
UNREADABLE = "cannot be read"
# Of these a second look may find something else, though the file is the same: rights, disks and memory change.
PASSING = (CRASHED, UNREADABLE)
_UNDECODABLE = "cannot be decoded"
# What diffwave.audio.file says, and which reason that is.
_REASONS = {
    "(truncated file)": "truncated",
    "holds no samples": "empty",
    "(0 bytes)": "empty",
    "NaN or infinity": "not finite",
    "sample rate of at least": "other sample rate",
    "expected audio that can be read": UNREADABLE,
    "no such file": UNREADABLE,
}


@dataclass(frozen=True)
class Inspection:
    """What was found in a file.

    Args:
        reason: why it cannot be used, in two or three words; empty if it can.
        detail: the same in a sentence.
        sha256: of the file, in hexadecimal.
        samples: length, in samples of its own rate.
        sample_rate: in Hz.
        channels: of the file.
        low, high: smallest and largest sample.
        mean: DC offset, full scale 1.
        rms: root of the mean square around it, full scale 1.
        clipped: how many samples are clipped.
    """

    reason: str = ""
    detail: str = ""
    sha256: str = ""
    samples: int = 0
    sample_rate: int = 0
    channels: int = 0
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    rms: float = 0.0
    clipped: int = 0

    @property
    def peak(self) -> float:
        """Largest absolute sample, full scale 1."""
        return max(abs(self.low), abs(self.high))

    @property
    def is_silent(self) -> bool:
        """Whether all samples are the same: digital silence, with or without an offset."""
        return self.low == self.high

    @property
    def level(self) -> float:
        """RMS in dB of full scale; minus infinity for silence."""
        return 20 * math.log10(self.rms) if self.rms else -math.inf


def inspect(path: Path) -> Inspection:
    """Read a file whole, once for its checksum and once to decode it; never raises for what is in it."""
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        mono, rate, channels = read_samples(path)
        clipped = _clipped(path, mono, channels)
    except AudioError as error:
        said = str(error).removeprefix(f"{path}: ")
        return Inspection(next((reason for words, reason in _REASONS.items() if words in said), _UNDECODABLE), said)
    except OSError as error:
        return Inspection(UNREADABLE, error.strerror or str(error))
    except MemoryError:
        return Inspection(UNREADABLE, "not enough memory")
    return Inspection(
        sha256=sha256,
        samples=len(mono),
        sample_rate=rate,
        channels=channels,
        low=float(mono.min()),
        high=float(mono.max()),
        # In float64: the sums over an hour would lose digits.
        mean=float(np.mean(mono, dtype=np.float64)),
        rms=float(np.std(mono, dtype=np.float64)),
        clipped=clipped,
    )


def _clipped(path: Path, mono: np.ndarray, channels: int) -> int:
    """Clipped samples of all channels; mixed down, one channel at its limit is not seen."""
    if channels == 1:
        return clipped_samples(mono)
    import soundfile

    samples, _ = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    return sum(clipped_samples(channel) for channel in samples.T)


def clipped_samples(wav: np.ndarray) -> int:
    """How many samples of ``[N]`` stand in runs of equal values at the limit.

    >>> clipped_samples(np.array([0.5, 1.0, 1.0, 1.0, 0.2, -1.0, -1.0, 0.1]))
    3
    """
    if not len(wav) or np.abs(wav).max() < CLIPPED_LEVEL:
        return 0
    starts = np.concatenate([[0], np.flatnonzero(wav[1:] != wav[:-1]) + 1])
    lengths = np.diff(starts, append=len(wav))
    at_limit = np.abs(wav[starts]) >= CLIPPED_LEVEL
    return int(lengths[at_limit & (lengths >= CLIPPED_RUN)].sum())
