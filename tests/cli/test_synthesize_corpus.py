"""``diffwave synthesize-corpus`` from the command line: what it prints, and what it refuses in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import soxr
import torch

from diffwave.cli.main import main
from diffwave.config import CONVENTIONS
from diffwave.mel.spectrogram import MelSpectrogram

QUICK = ("--consistency", "2")
SPEECH = Path(__file__).parents[1] / "data" / "403-126855-0000.flac"


class Outcome(NamedTuple):
    """What a call left: exit code, stdout, and stderr line by line."""

    code: int
    stdout: str
    errors: list[str]


@pytest.fixture
def corpus(tiny_checkpoint: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the command with the tiny checkpoint in this process; later arguments win."""

    def call(*arguments: object) -> Outcome:
        always = ["--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--output", str(output), "--workers", "0"]
        capsys.readouterr()
        try:
            code = main(["synthesize-corpus", *always, *(str(argument) for argument in arguments)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err.splitlines())

    return call


@pytest.fixture
def two(inputs: Path, speech) -> Path:
    """Folder of two recordings."""
    for name in "ab":
        soundfile.write(inputs / f"{name}.wav", speech, 16000)
    return inputs


def test_a_table_for_people(corpus, two, output):
    outcome = corpus(two)
    assert (outcome.code, outcome.errors) == (0, [])
    assert outcome.stdout.splitlines()[2].split()[:5] == ["this", "run", "2", "0", "0"]
    assert sorted(path.name for path in output.iterdir()) == [
        ".corpus",
        "a.wav",
        "b.wav",
        "corpus.json",
        "manifest.jsonl",
        "shard-00001-of-00001.jsonl",
    ]
    outcome = corpus(two)
    assert (outcome.code, outcome.stdout.splitlines()[2].split()[:5]) == (0, ["this", "run", "0", "2", "0"])


def test_json_for_programs_and_scores(corpus, two, output):
    outcome = corpus(two, "--json", "--evaluate", "level")
    assert (outcome.code, outcome.errors) == (0, [])
    result = json.loads(outcome.stdout)
    assert result["corpus"] == json.loads((output / "corpus.json").read_text())
    assert result["corpus"]["scores"]["metrics"]["level"]["n"] == 2
    assert len((output / "scores-00001-of-00001.csv").read_text().splitlines()) == 3
    assert "level (dB)" in corpus(two, "--evaluate", "level").stdout


def test_a_failure_is_a_line_and_exit_code_2(corpus, two, output):
    (two / "c\n.wav").write_bytes(b"x")
    assert corpus(two).code == 2  # an id that cannot be printed
    assert not output.exists()
    (two / "c\n.wav").rename(two / "c.wav")
    outcome = corpus(two)
    assert outcome.code == 2
    [line] = outcome.errors
    assert line.startswith("diffwave synthesize-corpus: c: ")
    assert "c.wav: expected audio" in line
    assert (output / "b.wav").is_file()


def test_many_failures_do_not_fill_the_terminal(corpus, inputs):
    for number in range(30):
        (inputs / f"{number}.wav").write_bytes(b"x")
    outcome = corpus(inputs)
    assert outcome.code == 2
    assert len(outcome.errors) == 21


def test_a_shard_says_what_is_left(corpus, two):
    lines = []
    for index in (1, 2):
        outcome = corpus(two, "--shard", f"{index}/2")
        assert outcome.code == 0
        assert f"shard {index} of 2" in outcome.stdout
        lines.extend(outcome.errors)
    assert [line for line in lines if "utterances are not done yet" in line] == lines[:1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--shard", "0/2"], "expected I/N with I from 1 to N"),
        (["--shard", "3/2"], "expected I/N with I from 1 to N"),
        (["--shard", "a"], "expected I/N with I from 1 to N"),
        (["--format", "mp3"], "invalid choice: 'mp3'"),
        (["--evaluate", "pesk_wb"], "did you mean pesq_wb?"),
        (["--evaluate", "steps"], "expected metrics that compare audio"),
        (["--backend", "triton"], "backend triton cannot run here"),
        (["--refinements", "2"], "no refiner"),
        (["--checkpoint", "/nowhere"], "there is no such folder"),
        (["--ray-address", "ray://x"], "expected auto, local or HOST:PORT"),
        (["--ray-address", "local"], "--workers 0 works in this process"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(corpus, two, output, arguments, reason):
    outcome = corpus(two, *arguments)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert len(outcome.errors) == 1
    assert reason in outcome.errors[0]
    assert not list(output.rglob("*.wav"))
    assert not list(output.rglob("*.json*"))


@pytest.mark.parametrize("missing", ["ray", "pyarrow"])
def test_without_ray_the_line_says_what_to_install(corpus, two, output, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    outcome = corpus(two, "--ray-address", "local", "--workers", "1")
    assert outcome.code == 2
    [line] = outcome.errors
    assert "pip install 'diffwave-vocoder[ray]'" in line
    assert not output.exists()


def test_mels_alone_have_nothing_to_compare_with(corpus, inputs, speech_mel):
    np.save(inputs / "a.npy", speech_mel)
    outcome = corpus(inputs, "--evaluate")
    assert outcome.code == 2
    assert "the manifest has mels alone" in outcome.errors[0]
    assert corpus(inputs).code == 0


def test_a_storage_that_is_not_shared_is_told(corpus, two, monkeypatch):
    from diffwave.bulk import corpus_run

    monkeypatch.setattr(corpus_run, "write_text", lambda path, text: None)
    outcome = corpus(two)
    assert outcome.code == 2
    assert "expected a folder on storage that all machines share" in outcome.errors[0]


def vocos(speech: np.ndarray) -> np.ndarray:
    """A mel of vocos-24k, ``[100, 62]``; the name alone makes 16 kHz 24."""
    config = CONVENTIONS["vocos-24k"].mel
    return MelSpectrogram(config)(torch.from_numpy(speech[: 62 * 256])[None])[0].numpy()


# How a mel of vocos-24k is spoiled, and what the line must say of it.
SPOILED = {
    "bands": (lambda m: m[:80], "expected a mel [100 bands, frames] of vocos-24k"),
    "transposed": (lambda m: m.T, "transposed?"),
    "nan": (lambda m: m * np.nan, "NaN"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_mels_that_are_none_of_the_named_convention_fail_alone(corpus, inputs, output, speech, case):
    spoil, said = SPOILED[case]
    np.save(inputs / "a.npy", spoil(vocos(speech)))
    np.save(inputs / "b.npy", vocos(speech))
    outcome = corpus(inputs, "--mel", "vocos-24k", *QUICK)
    assert outcome.code == 2
    assert said in outcome.errors[0]
    assert [path.name for path in output.glob("*.wav")] == ["b.wav"]


def test_outputs_of_another_convention_are_not_gone_on_with(corpus, inputs, output, speech):
    np.save(inputs / "a.npy", vocos(speech))
    assert corpus(inputs, "--mel", "vocos-24k", *QUICK).errors == []
    assert soundfile.info(output / "a.wav").samplerate == 24000
    made = (output / "a.wav").read_bytes()
    for other in ("default", "bigvgan-24k"):
        outcome = corpus(inputs, "--mel", other, *QUICK)
        assert outcome.code == 2
        assert f'mel is "vocos-24k" there and "{other}" now' in outcome.errors[-1]
        assert (output / "a.wav").read_bytes() == made
    again = corpus(inputs, "--mel", "vocos-24k", *QUICK)
    assert (again.code, again.stdout.splitlines()[2].split()[:5]) == (0, ["this", "run", "0", "1", "0"])


def test_mels_that_say_what_they_are_need_no_assumption(corpus, inputs, speech_mel):
    np.savez(inputs / "a.npz", mel=speech_mel[:, :20], mel_convention="default")
    assert corpus(inputs, *QUICK).errors == []
    np.savez(inputs / "b.npz", mel=speech_mel[:, :20])
    assert "mels read as 16000 Hz" in corpus(inputs, *QUICK).errors[0]


def test_a_mel_that_looks_like_another_is_told_of(corpus, inputs, output):
    wav, _ = soundfile.read(SPEECH, dtype="float32")
    wav = soxr.resample(wav[:29280], 16000, 22050)
    np.save(inputs / "a.npy", MelSpectrogram(CONVENTIONS["hifigan-22k"].mel)(torch.from_numpy(wav[:40192])[None])[0])
    outcome = corpus(inputs, *QUICK)
    assert outcome.code == 0
    (record,) = map(json.loads, (output / "shard-00001-of-00001.jsonl").read_text().splitlines())
    assert record["notes"][0].startswith("looks like hifigan-22k rather than default")
