"""``diffwave synthesize`` of mels of other conventions: by ``--mel``, or as files carry them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from diffwave.cli.main import main
from diffwave.config import CONVENTIONS
from diffwave.mel.spectrogram import MelSpectrogram

QUICK = ("--consistency", "2")
ASSUMED = "mels read as 16000 Hz, hop 256, 80 bands, ln; --mel names others"


def mel_of(speech: np.ndarray, name: str) -> np.ndarray:
    """Of the convention's own rate, ``[M, F]``."""
    config = CONVENTIONS[name].mel
    wav = soxr.resample(speech[:8000], 16000, config.sample_rate)
    wav = wav[: len(wav) // config.hop_length * config.hop_length]
    return MelSpectrogram(config)(torch.from_numpy(wav)[None])[0].numpy()


def rows(output: Path) -> dict:
    return {row["output"]: row for row in json.loads((output / "synthesis.json").read_text())["outputs"]}


@pytest.mark.parametrize("chunks", [(), ("--chunk-seconds", "0.2")])
@pytest.mark.parametrize("name", ["vocos-24k", "espnet-24k", "matcha-22k"])
def test_mels_of_a_named_convention_are_spoken_at_its_rate(synthesize, inputs, output, speech, name, chunks):
    mel, config = mel_of(speech, name), CONVENTIONS[name].mel
    np.save(inputs / "a.npy", mel)
    outcome = synthesize(inputs, "--mel", name, *QUICK, *chunks)
    assert (outcome.code, outcome.errors) == (0, [])
    information = soundfile.info(output / "a.wav")
    assert (information.samplerate, information.frames) == (config.sample_rate, mel.shape[1] * config.hop_length)
    assert rows(output)["a.wav"]["mel"] == name


def test_recordings_go_through_mels_of_that_convention_at_its_rate(synthesize, inputs, output, speech):
    soundfile.write(inputs / "a.wav", speech[:6000], 16000)
    assert synthesize(inputs, "--mel", "vocos-24k", *QUICK).code == 0
    information = soundfile.info(output / "a.wav")
    assert (information.samplerate, information.frames) == (24000, 9000)


def test_a_file_of_a_convention_says_the_same_as_its_name(synthesize, inputs, output, tmp_path, speech, capsys):
    np.save(inputs / "a.npy", mel_of(speech, "espnet-24k").T)
    main(["mels", "espnet-24k"])
    (tmp_path / "mine.json").write_text(capsys.readouterr().out)
    for mel, folder in (("espnet-24k", "named"), (tmp_path / "mine.json", "read")):
        assert synthesize(inputs, "--mel", mel, *QUICK, "--output", tmp_path / folder).code == 0
    assert (tmp_path / "named" / "a.wav").read_bytes() == (tmp_path / "read" / "a.wav").read_bytes()
    assert rows(tmp_path / "named")["a.wav"]["mel"] == rows(tmp_path / "read")["a.wav"]["mel"] == "espnet-24k"


def test_frames_may_come_first_where_the_convention_has_it_so(synthesize, inputs, output, speech):
    mel = mel_of(speech, "speecht5-16k")
    np.save(inputs / "bands.npy", mel)
    np.save(inputs / "frames.npy", mel.T)
    assert synthesize(inputs, "--mel", "speecht5-16k", *QUICK).code == 0
    assert (output / "bands.wav").read_bytes() == (output / "frames.wav").read_bytes()


def test_axes_that_cannot_be_told_apart_are_refused_and_both_wrong_too(synthesize, inputs, output, speech):
    mel = np.resize(mel_of(speech, "speecht5-16k"), (80, 80))
    np.save(inputs / "square.npy", mel)
    np.save(inputs / "z.npy", mel[:70, :60])
    outcome = synthesize(inputs, "--mel", "speecht5-16k", *QUICK)
    assert (outcome.code, len(outcome.errors)) == (2, 2)
    assert "either way round" in outcome.errors[0]
    assert "expected a mel [80 bands, frames]" in outcome.errors[1]
    assert not list(output.glob("*.wav"))


def test_what_nobody_named_is_said_once(synthesize, inputs, speech, speech_mel):
    for name in "ab":
        np.save(inputs / f"{name}.npy", speech_mel[:, :20])
    outcome = synthesize(inputs, *QUICK)
    assert (outcome.code, outcome.errors) == (0, [f"diffwave synthesize: {ASSUMED}"])
    assert json.loads(synthesize(inputs, *QUICK, "--force", "--json").stdout)["errors"] == []


def test_what_somebody_named_is_not_said(synthesize, inputs, speech, speech_mel):
    np.save(inputs / "a.npy", speech_mel[:, :20])
    assert synthesize(inputs, *QUICK, "--mel", "default").errors == []
    soundfile.write(inputs / "b.wav", speech[:4000], 16000)
    assert synthesize(inputs / "b.wav", *QUICK).errors == []


@pytest.mark.parametrize("more", [(), ("--batch-seconds", "60"), ("--chunk-seconds", "0.2")])
def test_archives_carry_their_conventions_and_are_spoken_so(synthesize, inputs, output, speech, more):
    vocos = mel_of(speech, "vocos-24k")
    other = json.dumps(CONVENTIONS["espnet-24k"].document())
    np.savez(inputs / "a.npz", mel=vocos, mel_convention="vocos-24k", sample_rate=24000, hop_length=256)
    np.savez(inputs / "b.npz", mel=mel_of(speech, "espnet-24k").T, mel_convention=other)
    np.savez_compressed(inputs / "c.npz", mel=vocos, mel_convention="vocos-24k")
    soundfile.write(inputs / "d.wav", speech[:4000], 16000)
    outcome = synthesize(inputs, *QUICK, *more)
    assert (outcome.code, outcome.errors) == (0, [])
    assert {path.name: soundfile.info(path).samplerate for path in sorted(output.glob("*.wav"))} == {
        "a.wav": 24000,
        "b.wav": 24000,
        "c.wav": 24000,
        "d.wav": 16000,
    }
    assert [row["mel"] for row in rows(output).values()] == ["vocos-24k", "espnet-24k", "vocos-24k", "default"]
    assert (output / "a.wav").read_bytes() == (output / "c.wav").read_bytes()


# What an archive carries beside a mel of vocos-24k, the --mel of the command, and what the line must say.
CONTRADICTIONS = {
    "another name": ({"mel_convention": "vocos-24k"}, "bigvgan-24k", "it carries vocos-24k"),
    "the checkpoint's": ({"mel_convention": "vocos-24k"}, "default", "as asked for; it carries vocos-24k"),
    "another rate": ({"sample_rate": 22050}, "vocos-24k", "expected sample_rate 24000, of vocos-24k; it carries 22050"),
    "another hop": ({"hop_length": 300}, "vocos-24k", "expected hop_length 256, of vocos-24k; it carries 300"),
    "a rate nobody named": ({"sample_rate": 24000}, None, "expected sample_rate 16000, of default; it carries 24000"),
    "no name": ({"mel_convention": "vocos"}, None, "did you mean vocos-24k?"),
    "no JSON": ({"mel_convention": "{vocos}"}, None, "got no JSON"),
    "no setting": ({"mel_convention": '{"hop": 3}'}, None, "unknown setting mel.hop"),
    "no text": ({"mel_convention": 24}, None, "mel_convention: expected a name or JSON"),
    "no number": ({"sample_rate": "24 kHz"}, None, "sample_rate: expected a number"),
    "not to be spoken": ({"mel_convention": '{"sample_rate": 4000, "f_max": 2000}'}, None, "expected 8000 to 192000"),
}


@pytest.mark.parametrize("more", [(), ("--chunk-seconds", "0.2")])
@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_file_that_contradicts_is_one_line_and_the_others_are_done(synthesize, inputs, output, speech, case, more):
    carried, named, said = CONTRADICTIONS[case]
    np.savez(inputs / "a.npz", mel=mel_of(speech, "vocos-24k"), **carried)
    soundfile.write(inputs / "b.wav", speech[:4000], 16000)
    outcome = synthesize(inputs, *QUICK, *more, *(("--mel", named) if named else ()))
    assert outcome.code == 2
    (line,) = [line for line in outcome.errors if ASSUMED not in line]
    assert line.startswith(f"diffwave synthesize: {inputs / 'a.npz'}: ")
    assert said in line
    assert [path.name for path in output.glob("*.wav")] == ["b.wav"]


# How a mel of vocos-24k is spoiled, and what the line must say of it.
SPOILED = {
    "bands": (lambda m: m[:80], "expected a mel [100 bands, frames] of vocos-24k: 24000 Hz"),
    "transposed": (lambda m: m.T, "transposed?"),
    "nan": (lambda m: m * np.nan, "NaN"),
    "decibel": (lambda m: 20 * m / np.log(10), "another logarithm"),
    "no frames": (lambda m: m[:, :0], "no frames"),
}


@pytest.mark.parametrize("suffix", ["npy", "npz", "pt"])
@pytest.mark.parametrize("case", SPOILED)
def test_mels_that_are_none_of_the_named_convention(synthesize, inputs, output, speech, case, suffix):
    spoil, said = SPOILED[case]
    mel, path = spoil(mel_of(speech, "vocos-24k")), inputs / f"a.{suffix}"
    write = {"npy": np.save, "npz": lambda p, m: np.savez(p, mel=m), "pt": lambda p, m: torch.save(torch.tensor(m), p)}
    write[suffix](path, mel)
    outcome = synthesize(inputs, "--mel", "vocos-24k", *QUICK)
    assert (outcome.code, len(outcome.errors)) == (2, 1)
    assert outcome.errors[0].startswith(f"diffwave synthesize: {path}: ")
    assert said in outcome.errors[0]
    assert not list(output.glob("*.wav"))


@pytest.mark.parametrize("chunks", [(), ("--chunk-seconds", "1")])
def test_a_mel_of_another_convention_than_it_is_read_as_is_told(synthesize, inputs, output, capsys, chunks):
    speech, _ = soundfile.read(Path(__file__).parents[1] / "data" / "403-126855-0000.flac", dtype="float32")
    long = np.tile(soxr.resample(speech, 16000, 22050), 3)
    config = CONVENTIONS["hifigan-22k"].mel
    mel = MelSpectrogram(config)(torch.from_numpy(long[: len(long) // 256 * 256])[None])[0]
    np.save(inputs / "a.npy", mel.numpy())
    assert synthesize(inputs, *QUICK, *chunks).code == 0
    [note] = rows(output)["a.wav"]["notes"]
    assert note.startswith("looks like hifigan-22k")
    assert "--mel hifigan-22k names it" in note
    assert synthesize(inputs, *QUICK, *chunks, "--mel", "hifigan-22k", "--force").code == 0
    assert rows(output)["a.wav"]["notes"] == []
