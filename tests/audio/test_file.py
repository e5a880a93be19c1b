"""Audio files: what is read, what it becomes, what is refused, and how it is written."""

from __future__ import annotations

import os
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from diffwave.audio.checks import AudioError
from diffwave.audio.file import Audio, import_torchaudio, read_audio, resample, write_wav


def tone(seconds: float = 0.5, rate: int = 16000, frequency: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize(
    ("subtype", "tolerance"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 1e-7), ("FLOAT", 0), ("DOUBLE", 0)],
)
def test_every_width_has_the_same_scale(tmp_path, subtype, tolerance):
    soundfile.write(tmp_path / "a.wav", tone(), 16000, subtype=subtype)
    audio = read_audio(tmp_path / "a.wav")
    assert (audio.wav.dtype, audio.sample_rate, audio.source_channels) == (torch.float32, 16000, 1)
    assert np.abs(audio.wav.numpy() - tone()).max() <= tolerance


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "ogg", "mp3"])
def test_every_suffix_we_promise(tmp_path, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", tone(), 16000)
    audio = read_audio(tmp_path / f"a.{suffix}")
    assert len(audio.wav) == 8000
    assert np.corrcoef(audio.wav.numpy(), tone())[0, 1] > 0.99


def test_content_counts_not_the_suffix(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), 16000, format="FLAC")
    assert len(read_audio(tmp_path / "a.wav").wav) == 8000


def test_channels_are_averaged(tmp_path):
    channels = np.stack([tone(), np.zeros(8000, np.float32), tone(frequency=880)], axis=1)
    soundfile.write(tmp_path / "a.wav", channels, 16000, subtype="FLOAT")
    audio = read_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(audio.wav.numpy(), channels.mean(axis=1), atol=1e-7)
    assert audio.conversion() == "mixed down from 3 channels"


def test_files_longer_than_a_block_are_whole_and_in_order(tmp_path):
    ramp = (np.arange(600_001) % 30011 / 30011).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", np.stack([ramp, ramp], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav").wav.numpy(), ramp)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 192000])
def test_resampling_keeps_a_tone(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(rate=rate), rate, subtype="FLOAT")
    audio = read_audio(tmp_path / "a.wav", 16000)
    assert abs(len(audio.wav) - 8000) <= 1
    inner = slice(500, 7500)  # away from the filter's edges
    np.testing.assert_allclose(audio.wav.numpy()[inner], tone()[inner], atol=1e-3)
    assert audio.conversion() == f"resampled from {rate} to 16000 Hz"
    assert audio.seconds == pytest.approx(0.5, abs=1e-4)


def test_resampling_removes_what_the_new_rate_cannot_hold():
    assert np.abs(resample(tone(rate=48000, frequency=12000), 48000, 16000)[200:-200]).max() < 1e-3


def test_nothing_is_said_where_nothing_was_done(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), 16000)
    assert read_audio(tmp_path / "a.wav", 16000).conversion() == ""


def test_conversions_are_listed_in_order():
    audio = Audio(torch.zeros(1), 16000, 44100, 2)
    assert audio.conversion() == "mixed down from 2 channels, resampled from 44100 to 16000 Hz"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_sample_that_is_no_number_is_enough(tmp_path, value):
    stereo = np.zeros((8000, 2), np.float32)
    stereo[7999, 1] = value
    soundfile.write(tmp_path / "a.wav", stereo, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: expected finite samples"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(("missing", "refused"), [(0, False), (44, False), (200, True)])
def test_a_header_that_counts_itself_is_forgiven_a_truncated_file_is_not(tmp_path, missing, refused):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 16000)
    data = path.read_bytes()
    path.write_bytes(data[:40] + struct.pack("<I", 16000 + missing) + data[44:])
    if refused:
        with pytest.raises(AudioError, match=r"expected 16200 bytes of samples by its header; got 16000 \(truncated"):
            read_audio(path)
    else:
        assert len(read_audio(path).wav) == 8000


def test_chunks_before_and_after_the_samples(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 16000)
    data = path.read_bytes()
    odd = b"note" + struct.pack("<I", 3) + b"abc\0"  # chunks are padded to even lengths
    cut_list = b"LIST" + struct.pack("<I", 4000)
    path.write_bytes(data[:12] + odd + data[12:] + cut_list)
    assert len(read_audio(path).wav) == 8000  # the samples are all there
    path.write_bytes(data[:12] + odd + data[12:-1000])
    with pytest.raises(AudioError, match="got 15000"):
        read_audio(path)


def test_a_header_that_claims_too_much_takes_no_memory(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(), 16000)
    data = path.read_bytes()
    path.write_bytes(data[:21] + bytes([data[21] | 0x0F]) + b"\xff" * 4 + data[26:])  # 2^36 - 1 samples
    read_audio(Path(__file__).parents[1] / "data" / "403-126855-0000.flac")  # imports are not counted
    tracemalloc.start()
    try:
        with pytest.raises(AudioError, match=r"expected 68719476735 samples by its header; .* after 8000 \(truncated"):
            read_audio(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_names_that_are_not_utf8(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), 16000)
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    (tmp_path / "a.wav").rename(path)
    assert len(read_audio(path).wav) == 8000
    write_wav(path, torch.zeros(10), 16000)
    assert len(read_audio(path).wav) == 10


@pytest.mark.parametrize("rate", [1, 999])
def test_rates_of_no_recording_are_refused(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(), rate)
    with pytest.raises(AudioError, match=f"at least 1000 Hz; got {rate} Hz"):
        read_audio(tmp_path / "a.wav", 16000)


def test_damage_anywhere_is_refused_or_harmless(tmp_path):
    """Bytes changed at random: an AudioError or samples, never another exception."""
    random, messages = np.random.default_rng(0), []
    for suffix in ("wav", "flac", "ogg", "aiff"):
        soundfile.write(tmp_path / f"good.{suffix}", tone(0.2), 16000)
        data = (tmp_path / f"good.{suffix}").read_bytes()
        path = tmp_path / f"bad.{suffix}"
        for _ in range(60):
            spoiled = bytearray(data)
            for position in random.integers(0, 200, 2):
                spoiled[position] = random.integers(0, 256)
            path.write_bytes(spoiled[: random.integers(0, len(spoiled)) if random.random() < 0.3 else None])
            try:
                audio = read_audio(path, None)
            except AudioError as error:
                messages.append(str(error))
            else:
                assert bool(torch.isfinite(audio.wav).all())
    assert len(messages) > 40
    assert all(text.startswith(str(tmp_path / "bad.")) and ": expected " in text for text in messages)


def test_writing_rounds_clips_and_counts(tmp_path):
    wav = torch.tensor([0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -7.0])
    assert write_wav(tmp_path / "a.wav", wav, 22050) == 2
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert rate == 22050
    assert samples.tolist() == [0, 16384, -16384, 32767, -32768, 32767, -32768]


def test_writing_takes_any_precision_and_gradients(tmp_path):
    write_wav(tmp_path / "a.wav", torch.full((4,), 0.25, dtype=torch.float64, requires_grad=True), 16000)
    assert soundfile.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [8192] * 4


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_is_not_written(tmp_path, value):
    with pytest.raises(AudioError, match="expected finite samples to write"):
        write_wav(tmp_path / "a.wav", torch.tensor([0.0, value]), 16000)
    assert list(tmp_path.iterdir()) == []


def test_writing_fails_with_the_systems_reason_and_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        write_wav(tmp_path / "nowhere" / "a.wav", torch.zeros(10), 16000)
    (tmp_path / "a.wav").write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_wav(tmp_path / "a.wav", torch.zeros(10), 16000)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.wav", "old")]


def test_a_torchaudio_that_does_not_fit_is_one_line(monkeypatch):
    class Broken:
        def find_spec(self, name, *_):
            if name == "torchaudio":
                raise OSError("libcudart.so.13: cannot open shared object file\nmore")

    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(ImportError, match="pip install") as error:
        import_torchaudio()
    assert "libcudart.so.13" in str(error.value)
    assert "\n" not in str(error.value)
