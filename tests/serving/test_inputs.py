"""What a body is, and how much of it is believed."""

from __future__ import annotations

import io
import struct
import time
import zipfile

import numpy as np
import pytest
import torch

from diffwave.audio.checks import AudioError, AudioLimits, AudioTooLargeError
from diffwave.audio.file import decode_audio
from diffwave.serving.inputs import kind_of, read_input
from diffwave.serving.limits import Limits, RefusedError
from diffwave.vocoder import Vocoder
from services import encoded, npy

LIMITS = Limits(json_bytes=1000)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("AIFF", "PCM_24"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", None)],
)
def test_audio_becomes_the_mel_of_what_the_file_holds(
    kind: str, subtype: str | None, vocoder: Vocoder, speech: np.ndarray
) -> None:
    data = encoded(speech, 16000, kind, subtype)
    assert kind_of(data) == "audio"
    spoken = read_input(vocoder, data, "auto", LIMITS, 10)
    wav = decode_audio(data, AudioLimits(10), 16000).wav
    assert spoken.samples == len(wav)
    torch.testing.assert_close(spoken.mel, vocoder.mel(wav), rtol=0, atol=0)
    if kind != "MP3":  # which adds samples at both ends
        assert len(wav) == len(speech)


def test_a_mel_is_taken_as_it_is(vocoder: Vocoder, mel: np.ndarray, npy_bytes: bytes) -> None:
    spoken = read_input(vocoder, npy_bytes, "auto", LIMITS, 10)
    np.testing.assert_array_equal(spoken.mel.numpy(), mel)
    assert spoken.samples == mel.shape[1] * 256


def zip_bomb() -> bytes:
    """An ``.npz`` of which a few kilobytes become gigabytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file, file.open("mel.npy", "w") as member:
        member.write(npy(np.zeros((1000, 1000), np.float32)))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"", 422, "empty"),
        (zip_bomb(), 415, "zip archive"),
        (b"\x80\x04\x95....", 415, "pickle, which is never loaded"),
        (b"\x1f\x8b\x08....", 415, "gzip"),
        (b"--boundary\r\nContent-Disposition: form-data", 415, "--data-binary"),
        (b"<html>", 415, "something else"),
        (b'{"mel": [[' + b"1, " * 400 + b"1]]}", 413, "1000 bytes of JSON"),
        (b"RIFF" + b"\0" * 100, 422, "libsndfile"),
        (b"\xff\xfb" + b"\0" * 100, 422, "audio"),
    ],
)
def test_what_is_refused(data: bytes, status: int, said: str, vocoder: Vocoder) -> None:
    with pytest.raises(RefusedError, match=said) as refused:
        read_input(vocoder, data, "auto", LIMITS, 10)
    assert refused.value.status == status


@pytest.mark.parametrize(("wanted", "got"), [("audio", "mel"), ("mel", "audio")])
def test_what_was_said_must_be_so(wanted: str, got: str, wav_bytes: bytes, npy_bytes: bytes) -> None:
    data = wav_bytes if got == "audio" else npy_bytes
    assert kind_of(data, got) == got
    with pytest.raises(RefusedError, match=f"expected {wanted} as the body; it looks like {got}"):
        kind_of(data, wanted)


def test_a_mel_of_another_convention_is_refused_with_both_in_one_line(vocoder: Vocoder, mel: np.ndarray) -> None:
    for wrong, said in ((mel.T, "transposed"), (mel / 2.3026, "log10"), (mel + 30, "another logarithm")):
        with pytest.raises(RefusedError, match=said) as refused:
            read_input(vocoder, npy(wrong), "auto", LIMITS, 10)
        assert refused.value.status == 422
        assert "16000 Hz, 1024/256/1024" in str(refused.value)


def test_longest_mel(vocoder: Vocoder) -> None:
    floor = vocoder.front_end.limits()[0]
    assert read_input(vocoder, npy(np.full((80, 125), floor)), "mel", LIMITS, 2.0).samples == 32000
    with pytest.raises(RefusedError) as refused:
        read_input(vocoder, npy(np.full((80, 126), floor)), "mel", LIMITS, 2.0)
    assert refused.value.status == 413


def test_too_short_and_too_loud_audio(vocoder: Vocoder, speech: np.ndarray) -> None:
    with pytest.raises(RefusedError, match="at least one frame, 1024 samples"):
        read_input(vocoder, encoded(speech[:1000], 16000), "auto", LIMITS, 10)
    loud = encoded(speech * 32768, 16000, "WAV", "FLOAT")
    with pytest.raises(RefusedError, match="peak of"):
        read_input(vocoder, loud, "auto", LIMITS, 10)


def flac_of_silence(minutes: int) -> bytes:
    return encoded(np.zeros(minutes * 60 * 16000, np.float32), 16000, "FLAC", "PCM_16")


def test_a_decompression_bomb_is_not_decoded() -> None:
    data = flac_of_silence(60)
    assert len(data) < 1 << 20
    begun = time.perf_counter()
    with pytest.raises(AudioTooLargeError, match="at most 60 s"):
        decode_audio(data, AudioLimits(60))
    assert time.perf_counter() - begun < 1


def test_a_bomb_whose_header_has_no_length_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    # The number of samples in STREAMINFO is 36 bits that end 26 bytes into the file; 0 is "unknown".
    data = bytearray(flac_of_silence(30))
    data[21] &= 0xF0
    data[22:26] = b"\0\0\0\0"
    blocks: list[int] = []
    check = AudioLimits.check

    def counted(self: AudioLimits, name: object, frames: int, rate: int, channels: int) -> None:
        blocks.append(frames)
        check(self, name, frames, rate, channels)

    monkeypatch.setattr(AudioLimits, "check", counted)
    with pytest.raises(AudioTooLargeError, match="at most 5 s"):
        decode_audio(bytes(data), AudioLimits(5))
    assert 5 * 16000 < max(blocks) < 5 * 16000 + (1 << 18) + 1


def test_limits_of_channels_and_rate() -> None:
    with pytest.raises(AudioTooLargeError, match="at most 8 channels; got 9"):
        decode_audio(encoded(np.zeros((2000, 9), np.float32), 16000), AudioLimits(10))
    with pytest.raises(AudioTooLargeError, match="at most 192000 Hz; got 200000"):
        decode_audio(encoded(np.zeros(2000, np.float32), 200000), AudioLimits(10))
    with pytest.raises(AudioError, match="at least 1000 Hz; got 1 Hz"):
        decode_audio(encoded(np.zeros(9, np.float32), 1), AudioLimits(10))


def test_a_header_that_claims_two_billion_samples(wav_bytes: bytes) -> None:
    data = wav_bytes[:40] + struct.pack("<I", 0x7FFF0000) + wav_bytes[44:]
    with pytest.raises(AudioError, match=r"expected 2147418112 bytes of samples by its header; got 16000"):
        decode_audio(data, AudioLimits(10))
