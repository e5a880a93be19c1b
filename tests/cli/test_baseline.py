"""``diffwave baseline`` from the command line to its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pesq
import pytest
import soundfile
import soxr
import torch

from diffwave.cli.main import main
from diffwave.config import CONVENTIONS
from diffwave.mel.spectrogram import MelSpectrogram

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A second of speech at 16 kHz and, in a folder of its own, at 22.05 kHz."""
    wav = soundfile.read(DATA / "839-130898-0000.flac", dtype="float32")[0][8000:24001]
    (tmp_path / "in" / "sub").mkdir(parents=True)
    soundfile.write(tmp_path / "in" / "a.flac", wav, 16000)
    soundfile.write(tmp_path / "in" / "sub" / "b.wav", soxr.resample(wav, 16000, 22050), 22050)
    return tmp_path / "in"


@pytest.fixture
def baseline(tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture[str]) -> Callable:
    """Call the command; returns exit code, stdout and the lines of stderr."""

    def call(system: str, *arguments: object, reference: Path = recordings, output: Path = tmp_path / "out"):
        capsys.readouterr()
        options = ["--reference", reference, "--output", output, "--system", system, *arguments]
        try:
            code = main(["baseline", *map(str, options)])
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err.splitlines()

    return call


@pytest.mark.parametrize("system", ["griffin-lim", "mel-consistency", "copy"])
def test_lengths_rates_and_folders_are_kept_and_the_record_says_how(system, baseline, recordings, tmp_path):
    code, out, errors = baseline(system, "--iterations", 4, "--json")
    assert (code, errors) == (0, [])
    for source, output in (("a.flac", "a.wav"), ("sub/b.wav", "sub/b.wav")):
        before, after = soundfile.info(recordings / source), soundfile.info(tmp_path / "out" / output)
        assert (after.samplerate, after.frames) == (before.samplerate, before.frames)
        assert after.subtype == "PCM_16"
    rows = json.loads((tmp_path / "out" / "synthesis.json").read_text())["outputs"]
    assert [row["output"] for row in rows] == ["a.wav", "sub/b.wav"]
    assert all(row["baseline"] == system and row["mel"] == "default" for row in rows)
    assert all(row["real_time_factor"] > 0 for row in rows)
    assert (tmp_path / "out" / rows[1]["input"]).resolve() == (recordings / "sub" / "b.wav").resolve()
    assert len(json.loads(out)["outputs"]) == 2


def test_a_copy_has_the_ceiling_after_16_bits(baseline, recordings, tmp_path):
    baseline("copy")
    sides = [soundfile.read(path, dtype="float32")[0] for path in (recordings / "a.flac", tmp_path / "out" / "a.wav")]
    assert pesq.pesq(16000, *sides, "wb") == pytest.approx(4.6439, abs=1e-3)
    assert np.abs(sides[0] - sides[1]).max() <= 2**-15


def test_outputs_are_replaced_only_when_asked(baseline, tmp_path):
    assert baseline("copy")[0] == 0
    before = (tmp_path / "out" / "a.wav").read_bytes()
    code, _, errors = baseline("mel-consistency", "--iterations", 1)
    assert code == 2
    assert len(errors) == 1
    assert "--force" in errors[0]
    assert (tmp_path / "out" / "a.wav").read_bytes() == before
    assert baseline("mel-consistency", "--iterations", 1, "--force")[0] == 0
    assert (tmp_path / "out" / "a.wav").read_bytes() != before


def test_recordings_are_never_replaced(baseline, recordings):
    before = {path: path.read_bytes() for path in recordings.rglob("*.*")}
    code, _, errors = baseline("mel-consistency", "--iterations", 1, "--force", output=recordings)
    assert {path: path.read_bytes() for path in before} == before
    assert code == 2
    assert len(errors) >= 1


def test_a_recording_that_cannot_be_read_is_a_line_and_the_others_are_made(baseline, recordings, tmp_path):
    (recordings / "bad.wav").write_bytes(b"nothing")
    soundfile.write(recordings / "nan.wav", np.full(2000, np.nan), 16000, subtype="FLOAT")
    code, _, errors = baseline("copy")
    assert code == 2
    assert len(errors) == 2
    assert "bad.wav" in errors[0]
    assert "nan.wav" in errors[1]
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.wav")) == ["a.wav", "b.wav"]


@pytest.mark.parametrize("system", ["griffin-lim", "mel-consistency", "copy"])
@pytest.mark.parametrize("samples", [1, 100, 300])
def test_very_short_recordings_are_no_traceback(system, samples, baseline, tmp_path):
    (tmp_path / "short").mkdir()
    soundfile.write(tmp_path / "short" / "a.wav", np.full(samples, 0.1), 16000)
    code, _, errors = baseline(system, "--iterations", 2, reference=tmp_path / "short")
    assert code == 0 or len(errors) == 1


def test_a_record_that_cannot_be_written_is_said(baseline, tmp_path):
    (tmp_path / "out" / "synthesis.json").mkdir(parents=True)
    code, _, errors = baseline("copy")
    assert code == 2
    assert len(errors) == 1
    assert "synthesis.json" in errors[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "invalid choice"),
        (["copy", "--iterations", "-1"], "positive number"),
        (["copy", "--mel", "vocos"], "did you mean vocos-24k?"),
        (["copy", "--reference", "/nowhere"], "expected a folder"),
        (["copy", "--reference", ""], "expected a path"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, words, baseline):
    code, out, errors = baseline(*arguments)
    assert (code, out) == (2, "")
    assert len(errors) == 1
    assert words in errors[0]


def test_an_empty_folder_is_one_line(baseline, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, errors = baseline("copy", reference=tmp_path / "empty")
    assert code == 2
    assert len(errors) == 1
    assert "expected audio files" in errors[0]


@pytest.fixture
def mels(tmp_path: Path) -> Path:
    """A folder with 30 frames of vocos-24k."""
    wav = soundfile.read(DATA / "839-130898-0000.flac", dtype="float32")[0][8000 : 8000 + 30 * 256]
    (tmp_path / "mels").mkdir()
    np.save(tmp_path / "mels" / "a.npy", MelSpectrogram(CONVENTIONS["vocos-24k"].mel)(torch.from_numpy(wav)[None])[0])
    return tmp_path / "mels"


@pytest.mark.parametrize("system", ["griffin-lim", "mel-consistency"])
def test_mels_of_a_named_convention_at_its_rate(system, baseline, mels, tmp_path):
    code, _, errors = baseline(system, "--iterations", 2, "--mel", "vocos-24k", reference=mels)
    assert (code, errors) == (0, [])
    information = soundfile.info(tmp_path / "out" / "a.wav")
    assert (information.samplerate, information.frames) == (24000, 30 * 256)
    (row,) = json.loads((tmp_path / "out" / "synthesis.json").read_text())["outputs"]
    assert (row["mel"], row["notes"]) == ("vocos-24k", [])


# How a mel of vocos-24k is spoiled, and what the line must say of it.
SPOILED = {
    "bands": (lambda m: m[:80], "expected a mel [100 bands, frames] of vocos-24k"),
    "transposed": (lambda m: m.T, "transposed?"),
    "nan": (lambda m: m * np.nan, "NaN"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_mels_that_are_none_of_the_named_convention_fail_alone(case, baseline, mels, tmp_path):
    spoil, said = SPOILED[case]
    np.save(mels / "b.npy", spoil(np.load(mels / "a.npy")))
    code, _, errors = baseline("griffin-lim", "--iterations", 2, "--mel", "vocos-24k", reference=mels)
    assert (code, len(errors)) == (2, 1)
    assert said in errors[0]
    assert [path.name for path in (tmp_path / "out").glob("*.wav")] == ["a.wav"]


def test_a_mel_that_looks_like_another_is_told_of(baseline, mels, tmp_path):
    wav, _ = soundfile.read(DATA / "403-126855-0000.flac", dtype="float32")
    wav = soxr.resample(wav[:29280], 16000, 22050)
    np.save(mels / "a.npy", MelSpectrogram(CONVENTIONS["hifigan-22k"].mel)(torch.from_numpy(wav[:40192])[None])[0])
    assert baseline("griffin-lim", "--iterations", 2, reference=mels)[0] == 0
    (row,) = json.loads((tmp_path / "out" / "synthesis.json").read_text())["outputs"]
    assert row["notes"][0].startswith("looks like hifigan-22k rather than default")
