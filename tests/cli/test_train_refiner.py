"""A checkpoint gets a refiner that has learned something, from recordings alone; nothing is lost on the way."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import soundfile
import torch

from diffwave.checkpoint import load_checkpoint
from diffwave.cli.main import main
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
    tiny_checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "refined"
    assert main(command(tiny_checkpoint, corpus, output, "--iterations", "60", "--refinements", "1")) == 0
    found = re.search(r"off by ([\d.]+) nat, ([\d.]+) without", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) < 0.8 * float(found[2])
    before, after = load_checkpoint(tiny_checkpoint), load_checkpoint(output)
    for name, weight in before.weights.items():
        assert torch.equal(after.weights[name], weight)
    assert after.config.sampling.refinements == 1
    story = after.training["refiner"]
    assert (story["iterations"], story["error_after"]) == (60, float(found[1]))
    assert 1 <= story["crops"] <= 4
    vocoder = Vocoder.from_pretrained(output, "cpu")
    mel = vocoder.mel(torch.from_numpy(soundfile.read(DATA / "403-126855-0000.flac", dtype="float32")[0][:16000]))
    one, none = (vocoder.synthesize(mel, consistency=2, refinements=n) for n in (1, 0))
    assert not torch.equal(one, none)
    assert (output / "README.md").is_file()


def test_the_same_seed_gives_the_same_refiner(tiny_checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert main(command(tiny_checkpoint, corpus, tmp_path / name, "--iterations", "4", "--seed", seed)) == 0
    weights = {name: load_checkpoint(tmp_path / name).weights["refiner.leave.weight"] for name in "abc"}
    assert torch.equal(weights["a"], weights["b"])
    assert not torch.equal(weights["a"], weights["c"])


def test_a_refiner_is_replaced_by_force_alone(tiny_checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "refined"
    assert main(command(tiny_checkpoint, corpus, output, "--iterations", "2", "--half")) == 0
    again = command(output, corpus, output, "--iterations", "3")
    kept = (output / "config.json").read_text()
    assert main(again) == 2
    assert (output / "config.json").read_text() == kept
    assert main([*again, "--force"]) == 0
    assert json.loads((output / "config.json").read_text())["training"]["refiner"]["iterations"] == 3


def test_data_settings_are_those_of_training(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train-refiner", "data.rot=x", "--checkpoint", str(tiny_checkpoint), "-o", str(tmp_path / "out")]
    assert main(words) == 2
    assert "unknown setting data.rot; did you mean data.root?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--crop-seconds", "30"], "expected utterances of at least 30.0 s; there are none"),
        (["--dilations", "0"], "refiner.dilations must be at least 1; got [0]"),
        (["--checkpoint", "nowhere"], "nowhere: expected a checkpoint folder or 'default'"),
        (["--iterations", "0"], "iterations must be at least 1; got 0"),
    ],
)
def test_a_mistake_is_one_line(
    tiny_checkpoint: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    words = command(tiny_checkpoint, corpus, tmp_path / "out", *more)
    try:
        code = main(words)
    except SystemExit as error:
        code = error.code
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert message in lines[-1]
    assert not (tmp_path / "out").exists()
