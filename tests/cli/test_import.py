"""``diffwave import``: from another project's file to a folder that the other commands take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch

import foreign_checkpoints
from diffwave.cli.main import main

_SPEECH = Path(__file__).parents[1] / "data" / "403-126855-0000.flac"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file as lmnt-com's learner writes it."""
    torch.save(foreign_checkpoints.lmnt_file(), tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def test_an_imported_folder_speaks(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "imported"
    assert main(["import", str(weights), "--from", "lmnt", "--output", str(folder)]) == 0
    said = capsys.readouterr()
    assert "3 layers of 4 channels" in said.out
    assert "22050 Hz" in said.out
    assert said.err == ""
    assert "lmnt-com/diffwave" in (folder / "README.md").read_text(encoding="utf-8")
    assert main(["synthesize", str(_SPEECH), "--checkpoint", str(folder), "--output", str(tmp_path / "out")]) == 0
    _, rate = soundfile.read(tmp_path / "out" / "403-126855-0000.wav")
    assert rate == 22050
    record = json.loads((tmp_path / "out" / "synthesis.json").read_text(encoding="utf-8"))["outputs"][0]
    assert (record["steps"], record["sampler"], record["consistency"]) == (6, "ddpm", 0)
    exported = tmp_path / "exported"
    assert main(["export", str(folder), "--output", str(exported)]) == 0
    assert (exported / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_half_precision_is_half_as_large(weights: Path, tmp_path: Path) -> None:
    for name, more in (("whole", []), ("half", ["--half"])):
        assert main(["import", str(weights), "--from", "lmnt", "--output", str(tmp_path / name), *more]) == 0
    whole, half = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half"))
    assert 0.49 < half / whole < 0.6


def test_notes_go_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(foreign_checkpoints.speechbrain_names(foreign_checkpoints.weights()), tmp_path / "diffwave.ckpt")
    arguments = ["import", str(tmp_path), "--from", "speechbrain", "--output", str(tmp_path / "o")]
    assert main([*arguments, "--set", "network.dilation_cycle=2"]) == 0
    assert "diffwave import: no hyperparams.yaml beside diffwave.ckpt" in capsys.readouterr().err
    config = json.loads((tmp_path / "o" / "config.json").read_text(encoding="utf-8"))
    assert config["model"]["network"]["dilation_cycle"] == 2


def test_nothing_is_replaced_without_force(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["import", str(weights), "--from", "lmnt", "--output", str(tmp_path / "o")]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--mel", "hifigan"], "did you mean hifigan-22k"),
        (["--set", "mel.f_max=-1"], "f_max=-1"),
        (["--from", "speechbrain"], "step"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], expected: str
) -> None:
    folder = tmp_path / "o"
    assert main(["import", str(weights), "--from", "lmnt", "--output", str(folder), *more]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert expected in said.err
    assert not folder.exists()


@pytest.mark.parametrize("arguments", [["x.pt", "-o", "o"], ["x.pt", "-o", "o", "--from", "coqui"]])
def test_wrong_arguments_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["import", *arguments])
    assert caught.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
