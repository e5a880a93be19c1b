from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import soundfile
import torch

from diffwave.checkpoint.card import model_card
from diffwave.checkpoint.folder import CheckpointError, load_checkpoint, save_checkpoint
from diffwave.cli.main import main
from diffwave.config import mel_convention
from diffwave.rendering.opening import open_vocoder
from diffwave.vocoder import Vocoder

LICENSE = ("--license", "CC-BY-4.0")


def test_export_changes_only_what_was_asked_for(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert (
        main(["export", str(tiny_checkpoint), "-o", str(folder), "--half", "--steps", "5", "--consistency", "3"]) == 0
    )
    before, after = load_checkpoint(tiny_checkpoint), load_checkpoint(folder)
    assert (after.config.sampling.steps, after.config.sampling.consistency_iterations) == (5, 3)
    assert after.config.sampling.sampler == before.config.sampling.sampler
    assert (after.config.network, after.config.mel) == (before.config.network, before.config.mel)
    for name, weight in before.weights.items():
        assert after.weights[name].element_size() == 2
        assert (after.weights[name].float() - weight).abs().max() <= weight.abs().max() * 2**-10
    assert len(Vocoder.from_pretrained(folder, "cpu").resolve().sampler) == 5


@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_an_export_speaks_the_mels_that_it_was_made_for(tiny_checkpoint: Path, tmp_path: Path, form: str) -> None:
    folder = tmp_path / "model"
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    assert main(["export", str(tiny_checkpoint), "-o", str(folder), "--to", form, "--mel", "tacotron2-22k"]) == 0
    vocoder = open_vocoder(str(folder), "cpu", "auto", "auto")
    assert (vocoder.sample_rate, vocoder.convention.name, vocoder.named) == (22050, "tacotron2-22k", True)
    assert open_vocoder(str(folder), "cpu", "auto", "auto", mel_convention("default")).sample_rate == 16000
    again = tmp_path / "again"
    if form == "safetensors":
        assert "it speaks tacotron2-22k mels" in (folder / "README.md").read_text(encoding="utf-8")
        assert main(["export", str(folder), "-o", str(again)]) == 0
        assert Vocoder.from_pretrained(again, "cpu").convention.name == "tacotron2-22k"


def test_a_convention_in_a_checkpoint_that_is_none_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert main(["export", str(tiny_checkpoint), "-o", str(folder), "--mel", "vocos-24k"]) == 0
    document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert document["format_version"] == 2
    document["speaks"]["hop_lenght"] = 256
    (folder / "config.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config.json: speaks: .* did you mean mel.hop_length"):
        load_checkpoint(folder)


@pytest.mark.parametrize("steps", ["0", "51"])
def test_steps_it_was_not_trained_on_are_refused(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: str
) -> None:
    assert main(["export", str(tiny_checkpoint), "-o", str(tmp_path / "model"), "--steps", steps]) == 2
    assert f"expected 1 to 50, the steps it was trained on; got {steps}" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
def test_nothing_is_replaced_without_force(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / name).write_text("mine")
    command = ["export", str(tiny_checkpoint), "-o", str(folder)]
    assert main(command) == 2
    assert f"{folder} holds {name}; --force replaces it" in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [(name, "mine")]
    assert main([*command, "--force"]) == 0
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    load_checkpoint(folder)


def test_the_card_tells_of_what_was_exported(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my-model"
    assert main(["export", str(tiny_checkpoint), "-o", str(folder), "--steps", "7", "--sampler", "ddpm", *LICENSE]) == 0
    assert "README.md" in capsys.readouterr().out
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card == model_card(load_checkpoint(folder), "my-model")
    assert "# my-model" in card
    assert "7 network calls, ddpm" in card
    assert 'license: "cc-by-4.0"' in card
    # It stays with the weights, whatever is made of them.
    again = tmp_path / "again"
    assert main(["export", str(folder), "-o", str(again)]) == 0
    assert load_checkpoint(again).training["license"] == "CC-BY-4.0"
    assert main(["export", str(folder), "-o", str(tmp_path / "onnx"), "--to", "onnx", *LICENSE]) == 2


def test_a_run_its_best_weights_and_a_run_that_has_none(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, latest = tmp_path / "run", load_checkpoint(tiny_checkpoint)
    run.mkdir()
    (run / "history.jsonl").write_text("{}\n")
    assert main(["export", str(run), "-o", str(tmp_path / "nothing")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "it has none yet" in line
    assert not (tmp_path / "nothing").exists()
    zeros = {name: weight * 0 for name, weight in latest.weights.items()}
    save_checkpoint(run, latest)
    save_checkpoint(run / "best", dataclasses.replace(latest, weights=zeros, training={"best": True}))
    for source, expected in ((run, latest.weights), (run / "best", zeros)):
        folder = tmp_path / f"of-{source.name}"
        assert main(["export", str(source), "-o", str(folder)]) == 0
        exported = load_checkpoint(folder)
        assert all(torch.equal(exported.weights[name], weight) for name, weight in expected.items())
    assert "best validation" in (tmp_path / "of-best" / "README.md").read_text()


def test_a_folder_that_is_no_run_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "-o", str(tmp_path / "model")]) == 2
    assert "expected a checkpoint folder with config.json" in capsys.readouterr().err


def test_an_output_that_is_a_file(tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["export", str(tiny_checkpoint), "-o", str(tmp_path / "file")]) == 2
    assert "expected a folder that can be written" in capsys.readouterr().err


def test_onnx_files_speak(tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="pip install 'diffwave-vocoder[onnx]'")
    folder, arguments = tmp_path / "onnx", ["export", str(tiny_checkpoint), "--to", "onnx", "--output"]
    assert main([*arguments, str(folder), "--steps", "3"]) == 0
    said = capsys.readouterr().out
    assert "conditioner.onnx, step.onnx, config.json" in said
    assert "opset 18; largest difference of one step from PyTorch" in said
    assert main([*arguments, str(folder)]) == 2
    assert "--force" in capsys.readouterr().err

    speech = Path(__file__).parents[1] / "data" / "403-126855-0000.flac"
    for name, checkpoint in (("onnx", folder), ("torch", tiny_checkpoint)):
        more = ["--steps", "3", "--precision", "float32", "--output", str(tmp_path / f"{name}-out")]
        assert main(["synthesize", str(speech), "--checkpoint", str(checkpoint), *more]) == 0
    wavs = [soundfile.read(tmp_path / f"{name}-out" / "403-126855-0000.wav")[0] for name in ("onnx", "torch")]
    assert abs(wavs[0] - wavs[1]).max() <= 2 / 32768
    assert abs(wavs[0]).max() > 0.01
    (record,) = json.loads((tmp_path / "onnx-out" / "synthesis.json").read_text(encoding="utf-8"))["outputs"]
    assert (record["backend"], record["precision"]) == ("onnx", "float32")

    capsys.readouterr()
    for more in (["--device", "cuda"], ["--backend", "native"], ["--precision", "bfloat16"]):
        refused = ["synthesize", str(speech), "--checkpoint", str(folder), "--output", str(tmp_path / "no"), *more]
        assert main(refused) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert more[0] in line
        assert "ONNX export" in line
    assert main(["export", str(folder), "--output", str(tmp_path / "no")]) == 2
    assert "ONNX export" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "expected"),
    [(["--half"], "--half: expected --to safetensors"), (["--output", "TINY"], "expected a folder of its own")],
)
def test_onnx_files_that_cannot_be_are_refused(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], expected: str
) -> None:
    more = [str(tiny_checkpoint) if word == "TINY" else word for word in more]
    assert main(["export", str(tiny_checkpoint), "--to", "onnx", "--output", str(tmp_path / "o"), *more]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
