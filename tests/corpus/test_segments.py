from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffwave.corpus.manifest import Utterance
from diffwave.corpus.segments import DataError, read_segment

RATE = 16000


def write(path: Path, samples: int, channels: int = 1) -> np.ndarray:
    """A file whose sample ``i`` says ``i`` (as 16-bit numbers), so that every segment tells where it was cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.arange(1, samples + 1, dtype=np.int16)
    data = np.stack([ramp * (channel + 1) for channel in range(channels)], axis=1)
    soundfile.write(path, data, RATE, subtype="PCM_16")
    return ramp.astype(np.float32) / 32768


def test_stereo_is_mixed_down(tmp_path: Path) -> None:
    ramp = write(tmp_path / "a.wav", 100, channels=2)
    utterance = Utterance(tmp_path / "a.wav", 100, RATE, "a")
    np.testing.assert_allclose(read_segment(utterance, 20, 30).numpy(), 1.5 * ramp[20:50])


def test_a_segment_may_reach_beyond_both_ends(tmp_path: Path) -> None:
    ramp = write(tmp_path / "a.wav", 100)
    utterance = Utterance(tmp_path / "a.wav", 100, RATE, "a")
    expected = np.concatenate([np.zeros(7), ramp, np.zeros(13)])
    np.testing.assert_allclose(read_segment(utterance, -7, 120).numpy(), expected)


def test_a_file_shorter_than_it_was_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", 100)
    utterance = Utterance(tmp_path / "a.wav", 100, RATE, "a")
    write(tmp_path / "a.wav", 50)
    with pytest.raises(DataError, match=r"a.wav: expected 60 samples at 16000 Hz from 40; got 10 at 16000 Hz"):
        read_segment(utterance, 40, 60)
