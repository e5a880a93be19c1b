"""A checkpoint gets a refiner that has learned something, from recordings alone; nothing is lost on the way."""

from __future__ import annotations

import dataclasses
import errno
import json
import re
from pathlib import Path

import pytest
import soundfile
import torch

from diffwave.checkpoint.folder import load_checkpoint, save_checkpoint
from diffwave.cli.main import main
from diffwave.corpus.manifest import Utterance, write_manifest
from diffwave.vocoder import Vocoder

DATA = Path(__file__).parents[1] / "data"
SHAPE = ["--channels", "16", "--hidden", "16", "--dilations", "1"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six utterances of two speakers, of a second each, and one that is too short."""
    root = tmp_path_factory.mktemp("corpus")
    for name in ("403-126855-0000", "839-130898-0000"):
        wav, rate = soundfile.read(DATA / f"{name}.flac", dtype="float32")
        folder = root / name.split("-")[0]
        folder.mkdir()
        for part in range(3 if name < "8" else 2):
            soundfile.write(folder / f"{part}.flac", wav[part * 3000 : part * 3000 + 17000], rate)
        soundfile.write(folder / "short.flac", wav[:4000], rate)
    return root


@pytest.fixture(scope="module")
def pushed_checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with mel consistency, after which a refiner works."""
    folder = tmp_path_factory.mktemp("pushed")
    tiny = load_checkpoint(tiny_checkpoint)
    sampling = dataclasses.replace(tiny.config.sampling, consistency_iterations=2)
    save_checkpoint(folder, dataclasses.replace(tiny, config=dataclasses.replace(tiny.config, sampling=sampling)))
    return folder


def command(checkpoint: Path, corpus: Path, output: Path, *more: str) -> list[str]:
    where = [
        f"data.root={corpus}",
        "--checkpoint",
        str(checkpoint),
        "-o",
        str(output),
        "--device",
        "cpu",
        "--crop-seconds",
        "1",
    ]
    return ["train-refiner", *where, *SHAPE, *more]


def test_it_learns_and_the_checkpoint_uses_it(
    pushed_checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "refined"

    def errors(iterations: int) -> tuple[str, str]:
        words = command(pushed_checkpoint, corpus, output, "--iterations", str(iterations), "--refinements", "1")
        assert main([*words, "--force"]) == 0
        found = re.search(r"off by ([\d.]+) nat, ([\d.]+) without", capsys.readouterr().out)
        assert found is not None
        return found[1], found[2]

    # One that has not learned is nearer than none, too: it halves what deviates.
    untaught, (error, none) = errors(1)[0], errors(200)
    assert float(error) < 0.97 * float(untaught) < float(none)
    before, after = load_checkpoint(pushed_checkpoint), load_checkpoint(output)
    for name, weight in before.weights.items():
        assert torch.equal(after.weights[name], weight)
    assert after.config.sampling.refinements == 1
    story = after.training["refiner"]
    assert (story["iterations"], story["error_after"]) == (200, float(error))
    assert 1 <= story["crops"] <= 4
    vocoder = Vocoder.from_pretrained(output, "cpu")
    mel = vocoder.mel(torch.from_numpy(soundfile.read(DATA / "403-126855-0000.flac", dtype="float32")[0][:16000]))
    one, plain = (vocoder.synthesize(mel, refinements=n) for n in (None, 0))
    assert not torch.equal(one, plain)
    assert (output / "README.md").is_file()


def test_the_same_seed_gives_the_same_refiner(pushed_checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert main(command(pushed_checkpoint, corpus, tmp_path / name, "--iterations", "4", "--seed", seed)) == 0
    weights = {name: load_checkpoint(tmp_path / name).weights["refiner.leave.weight"] for name in "abc"}
    assert torch.equal(weights["a"], weights["b"])
    assert not torch.equal(weights["a"], weights["c"])


def test_a_refiner_is_replaced_by_force_alone(pushed_checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "refined"
    assert main(command(pushed_checkpoint, corpus, output, "--iterations", "2", "--half")) == 0
    again = command(output, corpus, output, "--iterations", "3")
    kept = (output / "config.json").read_text()
    assert main(again) == 2
    assert (output / "config.json").read_text() == kept
    assert main([*again, "--force"]) == 0
    assert json.loads((output / "config.json").read_text())["training"]["refiner"]["iterations"] == 3


def test_data_settings_are_those_of_training(
    pushed_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train-refiner", "data.rot=x", "--checkpoint", str(pushed_checkpoint), "-o", str(tmp_path / "out")]
    assert main(words) == 2
    assert "unknown setting data.rot; did you mean data.root?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--crop-seconds", "30"], "expected utterances of at least 30.0 s; there are none"),
        (["--dilations", "0"], "refiner.dilations must be at least 1; got [0]"),
        (["--checkpoint", "nowhere"], "nowhere: expected a checkpoint folder or 'default'"),
        (["--crop-seconds", "0.2"], "crop_seconds: expected more than 12 frames of 256 samples at 16000 Hz; got 0.2 s"),
        (["--crop-seconds", "0.001"], "got 0.001 s, 0 of them"),
        (["--seed", str(2**64)], f"seed must be from 0 to below 2 ** 63; got {2**64}"),
        (["--iterations", "0"], "iterations must be at least 1; got 0"),
    ],
)
def test_a_mistake_is_one_line(
    pushed_checkpoint: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    words = command(pushed_checkpoint, corpus, tmp_path / "out", *more)
    try:
        code = main(words)
    except SystemExit as error:
        code = error.code
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert message in lines[-1]
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_would_never_use_its_refiner_gets_none(
    tiny_checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tiny_checkpoint, corpus, tmp_path / "out")) == 2
    assert "expected one with mel consistency, for a refiner works after it" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_cannot_end_well_does_not_begin(
    pushed_checkpoint: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Speaking takes hours: nobody long enough to validate on, or an output that cannot be written, is said before."""
    monkeypatch.setattr("diffwave.training.refined_checkpoint.speak", lambda *_: pytest.fail("it began to speak"))
    (tmp_path / "file").touch()
    assert main(command(pushed_checkpoint, corpus, tmp_path / "file")) == 2
    assert "file: expected a folder that can be written; File exists" in capsys.readouterr().err
    wav, rate = soundfile.read(corpus / "403" / "0.flac", dtype="float32")
    for speaker, samples in (("long", len(wav)), ("brief", 9000)):
        (tmp_path / "data" / speaker).mkdir(parents=True)
        soundfile.write(tmp_path / "data" / speaker / "0.flac", wav[:samples], rate)
    words = command(pushed_checkpoint, tmp_path / "data", tmp_path / "out")
    assert main([words[0], "data.validation_speakers=[brief]", *words[1:]]) == 2
    assert "validation: expected utterances of at least 1.0 s; there are none" in capsys.readouterr().err


def test_a_full_disk_is_one_line(
    pushed_checkpoint: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("diffwave.checkpoint.publishing.save_checkpoint", full)
    assert main(command(pushed_checkpoint, corpus, tmp_path / "out", "--iterations", "2")) == 2
    assert "expected a folder that can be written; No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("samples", "peak", "message"), [(9000, 0.1, "expected 15872 samples at 16000 Hz"), (17000, 3e4, "got values in")]
)
def test_audio_that_is_not_as_listed_is_named(
    pushed_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    samples: int,
    peak: float,
    message: str,
) -> None:
    wav = peak * torch.randn(samples, generator=torch.Generator().manual_seed(0)).numpy()
    listed = []
    for speaker in "ab":
        soundfile.write(tmp_path / f"{speaker}.wav", wav, 16000, subtype="FLOAT")
        listed.append(Utterance(tmp_path / f"{speaker}.wav", 17000, 16000, speaker))
    write_manifest(tmp_path / "listed.jsonl", listed)
    words = command(pushed_checkpoint, tmp_path, tmp_path / "out")
    assert main([words[0], f"data.manifest={tmp_path / 'listed.jsonl'}", *words[1:]]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "b.wav: expected" in line
    assert message in line


def test_training_the_network_makes_no_refiner(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its checkpoints would lack the refiner's weights, and nothing could load them."""
    assert main(["train", f"data.root={corpus}", "model.refiner.dilations=[1]"]) == 2
    assert "model.refiner: expected no dilations" in capsys.readouterr().err
