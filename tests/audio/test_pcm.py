"""Rounding to 16 bits, beside libsndfile's."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import torch

from diffwave.audio import encode_audio
from diffwave.audio.pcm import pcm16


def some_samples() -> np.ndarray:
    """Any, those between two 16-bit numbers, and the ends."""
    random = np.random.default_rng(0)
    between = (random.integers(-(2**16), 2**16, 20000) / 2**16).astype(np.float32)
    near = [np.nextafter(between, np.float32(end)) for end in (-2, 2)]
    ends = np.array([-1.5, -1, -np.nextafter(np.float32(1), np.float32(0)), -0.0, 0, 1e-30, 1, 1.5, 1e30], np.float32)
    return np.concatenate([random.uniform(-1.2, 1.2, 100000).astype(np.float32), between, *near, ends])


def test_numbers_are_those_of_libsndfile() -> None:
    samples, buffer = some_samples(), io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), 16000, format="WAV", subtype="PCM_16")
    assert encode_audio(torch.from_numpy(samples), 16000)[0] == buffer.getbuffer()
    buffer.seek(0)
    assert np.array_equal(soundfile.read(buffer, dtype="int16")[0], pcm16(samples))


@pytest.mark.parametrize("file_format", ["wav", "flac"])
def test_every_format_holds_the_same_numbers(file_format: str) -> None:
    samples = some_samples()
    data, clipped = encode_audio(torch.from_numpy(samples), 16000, file_format)
    assert np.array_equal(soundfile.read(io.BytesIO(data), dtype="int16")[0], pcm16(samples))
    assert clipped == (np.abs(samples) > 1).sum()
