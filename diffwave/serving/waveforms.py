"""Waveforms as bytes: 16-bit PCM and the header of a WAV file."""

from __future__ import annotations

import struct

import numpy as np
from torch import Tensor

from diffwave.audio.pcm import pcm16

UNKNOWN_SIZE = 0xFFFFFFFF
_HEADER_BYTES = 36  # of the RIFF chunk, before the samples


def pcm_bytes(wav: Tensor) -> bytes:
    """Samples ``[N]`` in ``[-1, 1]`` as 16-bit little-endian numbers; what is beyond is clipped.

    The same numbers as in the files that ``diffwave synthesize`` writes.

    Raises:
        ValueError: if a sample is NaN or infinite.
    """
    samples = wav.detach().float().cpu().numpy()
    if not np.isfinite(samples).all():
        raise ValueError("expected finite samples from the model; got NaN or infinity")
    return pcm16(samples).astype("<i2").tobytes()


def wav_header(sample_rate: int, data_bytes: int | None) -> bytes:
    """The 44 bytes before the samples of a WAV file of one channel in 16 bits.

    Args:
        sample_rate: in Hz.
        data_bytes: of the samples; None if not known, which is written as all ones, as FFmpeg does for a pipe.
    """
    data = UNKNOWN_SIZE if data_bytes is None else data_bytes
    riff = UNKNOWN_SIZE if data_bytes is None else data + _HEADER_BYTES
    form = struct.pack("<HHIIHH", 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", riff)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + struct.pack("<4sI", b"data", data)
    )


def wav_file(wav: Tensor, sample_rate: int) -> bytes:
    """``[N]`` as a whole WAV file."""
    samples = pcm_bytes(wav)
    return wav_header(sample_rate, len(samples)) + samples
