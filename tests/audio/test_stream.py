"""Audio block by block: the same samples and the same files as at once."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from diffwave.audio import file as audio_module
from diffwave.audio.checks import AudioError
from diffwave.audio.file import read_audio, write_wav
from diffwave.audio.stream import AudioStream, WavWriter


def noise(samples: int, channels: int = 1) -> np.ndarray:
    return (0.3 * np.random.default_rng(0).standard_normal((samples, channels))).astype(np.float32)


def blocks_of(path: Path, rate: int = 16000) -> tuple[AudioStream, list[torch.Tensor]]:
    stream = AudioStream(path, rate)
    return stream, list(stream)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_module, "_BLOCK", 1000)


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (22050, 2), (44100, 1), (8000, 3)])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_blocks_are_what_is_read_at_once(tmp_path, small_blocks, rate, channels, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(12345, channels), rate)
    stream, blocks = blocks_of(path)
    whole = read_audio(path, 16000)
    assert len(blocks) > 3
    assert torch.equal(torch.cat(blocks), whole.wav)
    assert stream.samples == len(whole.wav)
    assert stream.peak == float(whole.wav.abs().max())
    assert stream.conversion() == whole.conversion()


def test_what_is_wrong_is_said_when_its_place_has_come(tmp_path, small_blocks):
    wav = noise(5000)
    wav[4500] = np.nan
    soundfile.write(tmp_path / "a.wav", wav, 16000, subtype="FLOAT")
    blocks = iter(AudioStream(tmp_path / "a.wav", 16000))
    for _ in range(4):
        next(blocks)
    with pytest.raises(AudioError, match="finite samples"):
        next(blocks)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such file"), (b"", "0 bytes"), (b"no audio at all", "libsndfile can read")],
)
def test_what_is_no_audio_is_refused(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match=reason):
        blocks_of(tmp_path / "a.wav")


@pytest.mark.parametrize(("samples", "rate", "reason"), [(0, 16000, "no samples"), (100, 500, "at least 1000 Hz")])
def test_no_samples_and_no_rate_of_audio_are_refused(tmp_path, samples, rate, reason):
    soundfile.write(tmp_path / "a.wav", noise(samples), rate)
    with pytest.raises(AudioError, match=reason):
        blocks_of(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_truncated_file_is_refused(tmp_path, small_blocks, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(20000), 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=r"truncated|damaged"):
        blocks_of(path)


def test_pieces_make_the_same_file_as_the_whole(tmp_path):
    wav = torch.from_numpy(noise(10000)[:, 0] * 4)
    wav[:6] = torch.tensor([1.0, -1.0, 2.0, -2.0, 0.0, -(2.0**-16)])
    clipped = write_wav(tmp_path / "whole.wav", wav, 22050)
    with WavWriter(tmp_path / "pieces.wav", 22050) as writer:
        for piece in wav.split(777):
            writer.write(piece)
    assert (tmp_path / "pieces.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()
    assert (writer.samples, writer.clipped) == (10000, clipped)


def test_a_file_is_whole_or_not_there(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"before")

    def write(bad: torch.Tensor) -> None:
        with WavWriter(tmp_path / "a.wav", 16000) as writer:
            writer.write(torch.zeros(100))
            writer.write(bad)

    with pytest.raises(AudioError, match="finite samples"):
        write(torch.tensor([0.0, float("inf")]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == b"before"


@pytest.mark.parametrize("pieces", [(100,), (100, 100), (9000,)], ids=["closing", "again", "writing"])
def test_a_full_disk_leaves_nothing_even_while_the_error_is_kept(tmp_path, pieces):
    writer = WavWriter(tmp_path / "a.wav", 16000)

    def write() -> None:
        with writer:
            for samples in pieces:
                writer.write(torch.zeros(samples))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, limits[1]))  # Python ignores the signal
    try:
        with pytest.raises(OSError, match="File too large"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_more_than_a_header_can_say_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("diffwave.audio.stream._MOST_BYTES", 1000)
    writer = WavWriter(tmp_path / "a.wav", 16000)
    with writer:
        writer.write(torch.zeros(500))
        with pytest.raises(AudioError, match="4 GiB"):
            writer.write(torch.zeros(1))
