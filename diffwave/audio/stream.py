"""Audio files of any length, block by block: reading with resampling, and writing, in memory that does not grow.

What is read is what ``audio.file`` reads at once, sample for sample, and the files that are written are those that it
would write, byte for byte.
"""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from diffwave.audio.checks import AudioError, check_complete, check_samples, check_size
from diffwave.audio.file import conversion, mono_blocks, opened
from diffwave.audio.pcm import pcm16
from diffwave.files import atomic_path

_MOST_BYTES = 0xFFFFFFFF - 36  # a WAV header counts in 32 bits


class AudioStream:
    """A recording as one channel at a wanted rate, in blocks.

    Args:
        path: any file that libsndfile reads.
        sample_rate: wanted rate in Hz.

    Attributes:
        samples: ``N`` so far, at the wanted rate; known for the whole file when all of it has been read.
        peak: largest magnitude so far.
        source_rate, source_channels: of the file; 0 before the first block.
    """

    def __init__(self, path: Path, sample_rate: int) -> None:
        self.path = path
        self.sample_rate = sample_rate
        self.samples = self.source_rate = self.source_channels = 0
        self.peak = 0.0

    def __iter__(self) -> Iterator[Tensor]:
        """Blocks ``[n_i]``, float32.

        Raises:
            AudioError: as :func:`~diffwave.audio.file.read_audio`, when the place has come that is wrong.
        """
        for block in self._resampled():
            if len(block):
                self.samples += len(block)
                self.peak = max(self.peak, float(np.abs(block).max()))
                yield torch.from_numpy(np.ascontiguousarray(block))

    def conversion(self) -> str:
        """What was done to the file's samples, in words; empty if nothing."""
        return conversion(self.source_rate, self.source_channels, self.sample_rate)

    def _resampled(self) -> Iterator[np.ndarray]:
        import soxr

        blocks = self._blocks()
        first = next(blocks)
        if self.source_rate == self.sample_rate:
            yield first
            yield from blocks
            return
        resampler = soxr.ResampleStream(self.source_rate, self.sample_rate, 1, dtype="float32", quality="HQ")
        yield resampler.resample_chunk(first)
        for block in blocks:
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    def _blocks(self) -> Iterator[np.ndarray]:
        check_size(self.path)
        done = 0
        with opened(self.path, os.fsencode(self.path)) as file:
            self.source_rate, self.source_channels = file.samplerate, file.channels
            for block in mono_blocks(self.path, file, None):
                done += len(block)
                check_samples(self.path, block, done, self.source_rate)
                yield block
            check_complete(self.path, file, done)
            check_samples(self.path, np.zeros(0, np.float32), done, self.source_rate)


class WavWriter:
    """A 16-bit PCM WAV file that is written in pieces, and is whole or not there: use it in a ``with`` statement.

    Args:
        path: of the file, which has its name when the statement ends without an exception.
        sample_rate: in Hz.

    Attributes:
        samples: written so far.
        clipped: how many of them had to be clipped to ``[-1, 1]``.
    """

    def __init__(self, path: Path, sample_rate: int) -> None:
        self.path = path
        self.samples = self.clipped = 0
        self._sample_rate = sample_rate
        self._atomic = atomic_path(path)

    def __enter__(self) -> WavWriter:
        self._file = self._atomic.__enter__().open("wb")
        self._wav = wave.open(self._file, "wb")
        self._wav.setparams((1, 2, self._sample_rate, 0, "NONE", ""))
        return self

    def write(self, wav: Tensor) -> None:
        """Add samples ``[n]``.

        Raises:
            AudioError: if one is NaN or infinite, or the file would be longer than WAV files can be.
            OSError: if the disk is full.
        """
        samples = wav.detach().float().cpu().numpy()
        if not np.isfinite(samples).all():
            raise AudioError(f"{self.path}: expected finite samples to write; got NaN or infinity")
        if 2 * (self.samples + len(samples)) > _MOST_BYTES:
            raise AudioError(f"{self.path}: expected at most 4 GiB, as much as a WAV file can hold; got more")
        self.clipped += int((np.abs(samples) > 1).sum())
        self.samples += len(samples)
        self._wav.writeframesraw(pcm16(samples).astype("<i2").tobytes())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            # Closing writes what is in the buffer, even if writing it has failed before.
            with self._file:
                self._wav.close()  # writes the length into the header
        except (OSError, wave.Error) as late:
            kind, error = kind or type(late), error or late
        self._atomic.__exit__(kind, error, traceback)
        if isinstance(error, OSError | wave.Error) and traceback is None:
            raise error
