"""A thousand damaged and hostile files: each is an output or one line, and nothing worse happens."""

from __future__ import annotations

import io
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

Make = Callable[[np.random.Generator, np.ndarray, np.ndarray], tuple[str, bytes]]
FILES, AT_ONCE = 1000, 50
_MOST_MEMORY = 600 << 20  # that a thousand files may add to what the process holds


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def audio_bytes(wav: np.ndarray, kind: str, rate: int = 16000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wav, rate, format=kind.upper())
    return buffer.getvalue()


def npy_bytes(array: np.ndarray, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def valid(rng: np.random.Generator, wav: np.ndarray, mel: np.ndarray) -> tuple[str, bytes]:
    kind = rng.choice(["wav", "flac", "ogg", "aiff", "mp3", "npy", "pt"])
    if kind == "npy":
        return ".npy", npy_bytes(mel)
    if kind == "pt":
        buffer = io.BytesIO()
        torch.save(torch.from_numpy(mel), buffer)
        return ".pt", buffer.getvalue()
    return f".{kind}", audio_bytes(wav, str(kind))


def truncated(rng, wav, mel):
    suffix, data = valid(rng, wav, mel)
    return suffix, data[: rng.integers(len(data))]


def flipped(rng, wav, mel):
    suffix, data = valid(rng, wav, mel)
    damaged = bytearray(data)
    # Mostly in the header, where it matters.
    reach = len(damaged) if rng.random() < 0.3 else min(len(damaged), 200)
    for position in rng.integers(reach, size=rng.integers(1, 12)):
        damaged[position] ^= 1 << rng.integers(8)
    return suffix, bytes(damaged)


def mixed_up(rng, wav, mel):
    suffix = rng.choice([".wav", ".flac", ".ogg", ".npy", ".pt", ".mp3"])
    return str(suffix), valid(rng, wav, mel)[1]


def noise(rng, wav, mel):
    return str(rng.choice([".wav", ".flac", ".npy", ".pt"])), rng.bytes(rng.integers(0, 5000))


def claims_too_much(rng, wav, mel):
    """Headers of 2^31 samples, of shapes beyond memory, of formats that are none."""
    if rng.random() < 0.5:
        header = audio_bytes(wav[:100], "wav")
        claimed = int(rng.choice([2**31, 2**32 - 1, 2**31 - 5, 2**30]))
        return ".wav", header[:40] + struct.pack("<I", claimed) + header[44:]
    shape = rng.choice(
        ["(80, 2147483648)", "(80, -1)", "(80, 99999999999999)", "(0, 0)", "(80,)", "(80, 1, 1, 1)", "80"]
    )
    dtype = rng.choice(["<f4", "<f8", "|O", "<U4", "<c8", "|b1", ">f4", "<M8[s]", "|V9"])
    text = f"{{'descr': '{dtype}', 'fortran_order': {rng.random() < 0.5}, 'shape': {shape}, }}".ljust(117) + "\n"
    return ".npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + rng.bytes(400)


def wrong_values(rng, wav, mel):
    bad = mel * rng.choice([1, 100, -1]) + rng.choice([0.0, np.nan, np.inf, 50.0, -50.0])
    bad = bad.T if rng.random() < 0.3 else bad
    if rng.random() < 0.3:
        bad = bad[: rng.integers(0, 80)]
    kinds = [np.float32, np.float64, np.float16, np.int8]
    with np.errstate(all="ignore"):
        return ".npy", npy_bytes(bad.astype(kinds[rng.integers(len(kinds))]))


def bomb(rng, wav, mel):
    """Archives of zeros that are small on the disk, under the names that are read."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(str(rng.choice(["data.pkl", "mel.npy", "archive/data.pkl"])), bytes(20 << 20))
    return str(rng.choice([".npy", ".pt"])), buffer.getvalue()


def make_trap(path: Path) -> Make:
    def trap(rng, wav, mel):
        hostile = Trap(str(path))
        if rng.random() < 0.5:
            array = np.empty(1, dtype=object)
            array[0] = hostile
            return ".npy", npy_bytes(array, pickled=True)
        buffer = io.BytesIO()
        if rng.random() < 0.5:
            torch.save(hostile, buffer)
        else:
            buffer.write(pickle.dumps(hostile))
        return ".pt", buffer.getvalue()

    return trap


def write_files(folder: Path, count: int, seed: int, wav: np.ndarray, mel: np.ndarray, trap: Path) -> list[Path]:
    makers: list[Make] = [
        valid, truncated, flipped, mixed_up, noise, claims_too_much, wrong_values, bomb, make_trap(trap)
    ]  # fmt: skip
    rng = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        # Of damage there are more kinds than of the rest.
        weights = np.array([1, 3, 4, 1, 1, 2, 2, 0.3, 0.7])
        suffix, data = makers[rng.choice(len(makers), p=weights / weights.sum())](rng, wav, mel)
        path = folder / f"{number:04}{suffix}"
        path.write_bytes(data)
        paths.append(path)
    return paths


def check(synthesize, inputs: Path, tmp_path: Path, speech, speech_mel, seed: int, choices: tuple[str, ...]) -> int:
    """Run one folder of files and return how many became outputs."""
    folder, output, trap = inputs / str(seed), tmp_path / f"output-{seed}", tmp_path / "sprung"
    folder.mkdir()
    paths = write_files(folder, AT_ONCE, seed, speech[:6000], speech_mel[:, :20], trap)
    outcome = synthesize(folder, "--output", output, *choices)
    assert outcome.code in (0, 2)
    complaints = [line for line in outcome.errors if line.startswith("diffwave")]
    assert not any("Traceback" in line for line in outcome.errors)
    written = {path.stem for path in output.glob("*.wav")}
    for path in paths:
        named = [line for line in complaints if path.name in line]
        # Two inputs of one name and two suffixes do not occur: numbers are unique.
        assert (path.stem in written) != bool(named), (path, named)
        assert len(named) <= 1
    assert not trap.exists()
    assert not list(output.glob(".*"))
    for path in output.glob("*.wav"):
        assert np.isfinite(soundfile.read(path)[0]).all()
    return len(written)


@pytest.mark.parametrize("choices", [(), ("--chunk-seconds", "0.2")], ids=["whole", "chunks"])
def test_some_damaged_files(synthesize, inputs, tmp_path, speech, speech_mel, choices):
    written = check(synthesize, inputs, tmp_path, speech, speech_mel, 0, choices)
    assert 0 < written < AT_ONCE


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_thousand_damaged_files(synthesize, inputs, tmp_path, speech, speech_mel):
    written, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for seed in range(1, FILES // AT_ONCE + 1):
        choices = ("--chunk-seconds", "0.2") if seed % 2 else ()
        written += check(synthesize, inputs, tmp_path, speech, speech_mel, seed, choices)
    assert FILES / 20 < written < FILES * 0.8
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < _MOST_MEMORY
