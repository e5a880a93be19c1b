from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffwave.corpus.inspection import Inspection, clipped_samples, inspect

DATA = Path(__file__).parents[1] / "data"
RATE = 16000


def test_levels_of_a_sine_on_an_offset(tmp_path: Path) -> None:
    # 400 whole periods: the mean is the offset, the RMS around it that of a sine.
    wav = 0.5 * np.sin(2 * np.pi * np.arange(RATE) / 40) + 0.1
    soundfile.write(tmp_path / "a.wav", wav, RATE, subtype="DOUBLE")
    found = inspect(tmp_path / "a.wav")
    assert (found.reason, found.samples, found.sample_rate, found.channels, found.clipped) == ("", RATE, RATE, 1, 0)
    assert found.mean == pytest.approx(0.1, abs=1e-8)
    assert found.rms == pytest.approx(0.5 / math.sqrt(2), rel=1e-7)
    assert found.level == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)))
    assert (found.low, found.high, found.peak) == pytest.approx((-0.4, 0.6, 0.6))
    assert found.sha256 == hashlib.sha256((tmp_path / "a.wav").read_bytes()).hexdigest()
    assert not found.is_silent


def test_real_speech_is_sound() -> None:
    found = inspect(DATA / "403-126855-0000.flac")
    assert found.reason == ""
    assert found.samples == soundfile.info(DATA / "403-126855-0000.flac").frames
    assert -50 < found.level < -10


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_silence_may_have_an_offset(tmp_path: Path, value: float) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(100, value), RATE)
    found = inspect(tmp_path / "a.wav")
    assert found.is_silent
    assert found.level == -math.inf
    soundfile.write(tmp_path / "b.wav", np.append(np.full(99, value), value + 2**-15), RATE)
    assert not inspect(tmp_path / "b.wav").is_silent


@pytest.mark.parametrize(
    ("wav", "clipped"),
    [
        ([1.0, 1.0, 1.0], 3),
        ([1.0, 1.0, 0.0, 1.0], 0),  # two in a row are a loud voice
        ([0.99] * 3 + [0.0] + [-1.0] * 5, 8),
        ([0.98] * 10, 0),
        ([1.0, -1.0, 1.0, -1.0], 0),
        ([1.0, 1.0, 0.995, 1.0], 0),  # not the same value
        ([0.0] * 100, 0),
        ([], 0),
    ],
)
def test_clipped_samples_stand_in_runs_of_three_at_the_limit(wav: list[float], clipped: int) -> None:
    assert clipped_samples(np.array(wav, dtype=np.float32)) == clipped


def test_a_clipped_sine_has_as_many_as_were_cut(tmp_path: Path) -> None:
    phase = 2 * np.pi * (np.arange(RATE) + 0.5) / 100
    cut = np.abs(2 * np.sin(phase)) >= 1
    wav = np.clip(2 * np.sin(phase), -1, 1)
    soundfile.write(tmp_path / "a.flac", wav, RATE)
    assert inspect(tmp_path / "a.flac").clipped == cut.sum() > 0
    # One channel at its limit is not seen in the mean of both.
    soundfile.write(tmp_path / "b.flac", np.stack([np.zeros(RATE), wav], axis=1), RATE)
    found = inspect(tmp_path / "b.flac")
    assert (found.clipped, found.channels) == (cut.sum(), 2)
    assert found.peak == pytest.approx(0.5, abs=1e-4)


def broken(folder: Path) -> dict[str, Path]:
    """A file for each way to be unusable."""
    wav = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)
    names = (
        "cut.flac",
        "short.flac",
        "cut.wav",
        "noise.flac",
        "text.wav",
        "zero.wav",
        "empty.wav",
        "nan.wav",
        "gone.wav",
    )
    paths = {name: folder / name for name in names}
    soundfile.write(paths["cut.flac"], wav, RATE)
    paths["cut.flac"].write_bytes(paths["cut.flac"].read_bytes()[:-9000])
    # The number of samples in the STREAMINFO block, 36 bits at byte 18 + 3, says one more than there are.
    soundfile.write(paths["short.flac"], wav, RATE)
    header = bytearray(paths["short.flac"].read_bytes())
    header[22:26] = (int.from_bytes(header[22:26], "big") + 1).to_bytes(4, "big")
    paths["short.flac"].write_bytes(header)
    soundfile.write(paths["cut.wav"], wav, RATE)
    paths["cut.wav"].write_bytes(paths["cut.wav"].read_bytes()[:-1000])
    paths["noise.flac"].write_bytes(b"fLaC" + np.random.default_rng(1).bytes(5000))
    paths["text.wav"].write_text("no audio")
    paths["zero.wav"].touch()
    soundfile.write(paths["empty.wav"], np.zeros(0), RATE)
    soundfile.write(paths["nan.wav"], np.append(wav, np.nan), RATE, subtype="FLOAT")
    return paths


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cut.flac", "cannot be decoded"),
        ("short.flac", "truncated"),
        ("cut.wav", "truncated"),
        ("noise.flac", "cannot be decoded"),
        ("text.wav", "cannot be decoded"),
        ("zero.wav", "empty"),
        ("empty.wav", "empty"),
        ("nan.wav", "not finite"),
        ("gone.wav", "cannot be read"),
    ],
)
def test_a_broken_file_has_a_reason_and_a_sentence(tmp_path: Path, name: str, reason: str) -> None:
    found = inspect(broken(tmp_path)[name])
    assert found.reason == reason
    assert len(found.detail) > 10
    assert str(tmp_path) not in found.detail


def test_a_file_without_the_right_to_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As above, root may read everything.
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert inspect(DATA / "403-126855-0000.flac") == Inspection("cannot be read", "Permission denied")
