"""What goes wrong in the middle of a run, or before it: one line, and nothing is lost."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from diffwave.checkpoint.folder import load_checkpoint
from diffwave.cli.main import main
from diffwave.config import ConfigError
from diffwave.corpus.manifest import read_manifest, write_manifest
from diffwave.corpus.selection import find_utterances
from diffwave.errors import TrainingError
from diffwave.training.outputs.speaking import OutputMaker
from diffwave.training.record.run_folder import RunFolder
from diffwave.training.record.states import states
from diffwave.training.trainer import Trainer
from runs import Configure, curve, same_training, train, trainer_of
from training_overrides import SMALL


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def spoil(trainer: Trainer, at: int) -> None:
    """Let the weights become NaN before iteration ``at``."""
    step = trainer.learner.step

    def spoiled(micro_batches, iteration):
        if iteration == at:
            with torch.no_grad():
                trainer.learner.network.skip_projection.bias.fill_(torch.nan)
        return step(micro_batches, iteration)

    trainer.learner.step = spoiled  # type: ignore[method-assign]


def test_a_loss_that_is_no_number_is_diagnosed(configure: Configure, corpus: Path) -> None:
    config = configure("train.checkpoint_every=3", "train.batch_size=4", "train.accumulate=2")
    run = Path(config.run_dir)
    trainer = trainer_of(config)
    spoil(trainer, at=4)
    with pytest.raises(TrainingError) as caught:
        trainer.run()
    message = str(caught.value)
    assert message == (
        f"iteration 4: loss nan, gradient norm nan; crops and gradients are in {run / 'diagnosis-00000004.json'}; "
        f"the last good state is {run / 'training-00000003.pt'}"
    )
    found = json.loads((run / "diagnosis-00000004.json").read_text())
    assert found["not_finite"]["weights"] == ["skip_projection.bias"]
    assert "skip_projection.bias" in found["not_finite"]["gradients"]
    assert found["gradient_norms"]["skip_projection.bias"] == "nan"
    assert len(found["recent_losses"]) == 4
    # The crops of iteration 4, of both micro-batches.
    assert [row["crop"] for row in found["crops"]] == [16, 17, 18, 19]
    for row in found["crops"]:
        utterance, start = trainer.dataset.locate(row["crop"])
        assert (row["utterance"], row["first_sample"]) == (str(utterance.path), start)
        assert row["loss"] == "nan"
    # The same command goes on from the good state, and ends where a healthy run does.
    healthy = train(configure("train.checkpoint_every=3", "train.batch_size=4", "train.accumulate=2", run="healthy"))
    train(config)
    assert same_training(run / "training-00000006.pt", healthy / "training-00000006.pt")


def test_a_gradient_that_overflows_stops_the_run_before_the_weights_move(configure: Configure) -> None:
    trainer = trainer_of(configure("train.checkpoint_every=100"))
    before = [value.clone() for value in trainer.learner.network.parameters()]
    loss = trainer.learner.loss.losses
    trainer.learner.loss.losses = lambda *args: loss(*args) * 3e38  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"iteration 0: loss .*, gradient norm (inf|nan); .* holds no state yet"):
        trainer.run()
    after = list(trainer.learner.network.parameters())
    assert all(map(torch.equal, before, after))


def test_an_utterance_that_vanishes_is_named_and_the_run_goes_on_when_it_is_back(
    configure: Configure, corpus: Path, tmp_path: Path
) -> None:
    for workers in (0, 1):
        copy = tmp_path / f"corpus{workers}"
        shutil.copytree(corpus, copy)
        more = (f"data.root={copy}", f"data.workers={workers}", "train.iterations=40", "train.checkpoint_every=1")
        config = configure(*more, run=f"run{workers}")
        trainer = trainer_of(config)
        (copy / "speaker1" / "a.flac").rename(tmp_path / "kept.flac")
        with pytest.raises(TrainingError) as caught:
            trainer.run()
        message = str(caught.value)
        assert "\n" not in message
        assert f"{copy / 'speaker1' / 'a.flac'}: expected audio; " in message
        (tmp_path / "kept.flac").rename(copy / "speaker1" / "a.flac")
        trainer_of(config).run()
        straight = train(configure(*more[1:], run=f"straight{workers}"))
        final = "training-00000040.pt"
        assert same_training(Path(config.run_dir) / final, straight / final)


def test_impossible_combinations_are_refused_before_data_are_read(configure: Configure, monkeypatch) -> None:
    run = train(configure("train.iterations=1"))

    def read(*arguments: object) -> None:
        raise AssertionError("data were read")

    monkeypatch.setattr("soundfile.read", read)
    cases = {
        "data.crop_frames=3": r"crop of 768 samples, shorter than one frame of model.mel.n_fft=1024; .* at least 4",
        "model.mel.hop_length=250": "mel.hop_length must be a multiple of network.squeeze; got hop_length=250",
        "model.mel.sample_rate=22050": "expected 22050 Hz, the rate of model.mel; .* has 16000 Hz",
        "train.batch_size=1000": r"train.batch_size=1000 is larger than the data: \d+ crops of 8 frames",
        "train.accumulate=3": "train.batch_size=2: expected a multiple of 3, 1 processes with train.accumulate=3",
        "model.network.residual_layers=3": "another model.network: residual_layers was 2, now 3",
    }
    for override, message in cases.items():
        fresh = [] if "residual" in override else ["run_dir=" + str(run.parent / "fresh")]
        with pytest.raises(ConfigError, match=message):
            trainer_of(configure(override, *fresh))
    assert not (run.parent / "fresh").exists()


def test_another_architecture_is_refused_before_the_data_are_listed(configure: Configure, monkeypatch) -> None:
    train(configure("train.iterations=1"))
    monkeypatch.setattr("diffwave.training.material.training_and_validation", lambda *_: pytest.fail("listed"))
    with pytest.raises(ConfigError, match="residual_channels was 8, now 4"):
        trainer_of(configure("model.network.residual_channels=4"))


def test_changed_settings_and_data_are_told(configure: Configure, corpus: Path, tmp_path: Path) -> None:
    run = train(configure("train.iterations=1"))
    manifest = tmp_path / "train.jsonl"
    write_manifest(manifest, find_utterances(configure().data, 16000)[:1])
    assert len(read_manifest(manifest)) == 1
    train(configure("train.iterations=2", "train.learning_rate=5e-4", f"data.manifest={manifest}"))
    told = (run / "train.log").read_text()
    assert "changed since: train.learning_rate was 0.001, is 0.0005" in told
    assert "changed since: the utterances that it learns from" in told
    assert "changed since: run_dir" not in told


def test_crops_do_not_repeat_after_another_batch_size(configure: Configure) -> None:
    train(configure("train.iterations=3"))
    trainer = trainer_of(configure("train.iterations=5", "train.batch_size=4"))
    numbers = [crops.number.tolist() for crops in trainer._loader()]
    assert numbers == [[6, 7, 8, 9], [10, 11, 12, 13]]


def test_a_manifest_that_is_not_one_is_one_line(corpus: Path, tmp_path: Path, capsys) -> None:
    manifest = tmp_path / "train.jsonl"
    manifest.write_text('{"audio_filepath": "a.flac", "duration": "long"}\n')
    assert main(["train", *SMALL, f"data.manifest={manifest}", f"run_dir={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"diffwave train: {manifest}:1: expected ")
    assert error.splitlines() == [error]


def test_a_run_that_is_killed_while_it_makes_outputs_makes_them_again(
    configure: Configure, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["train.iterations=6", "train.outputs_every=3", "train.checkpoint_every=5"]
    straight = train(configure(*settings, run="straight"))
    config = configure(*settings, run="killed")
    run = Path(config.run_dir)

    class KilledError(BaseException):
        pass

    save = RunFolder.save
    for moment in ("make", "save"):
        with monkeypatch.context() as patch:
            if moment == "make":
                patch.setattr(OutputMaker, "make", lambda *_: (_ for _ in ()).throw(KilledError))
            else:  # between the outputs and the state that knows of them

                def saved(folder, state, checkpoint):
                    if state["progress"]["outputs"]:
                        raise KilledError
                    save(folder, state, checkpoint)

                patch.setattr(RunFolder, "save", saved)
            with pytest.raises(KilledError):
                trainer_of(config).run()
        assert states(run)[-1].name == "training-00000003.pt"
    train(config)
    assert curve(run) == curve(straight)
    assert [row["iteration"] for row in curve(run) if "outputs" in row] == [3, 6]
    assert load_checkpoint(run).training["outputs"]["iteration"] == 6
    # A run that is done is left alone.
    before = contents(run)
    train(config)
    assert contents(run) == before


def test_a_validation_utterance_that_vanishes_is_named(configure: Configure, corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "corpus"
    shutil.copytree(corpus, copy)
    trainer = trainer_of(configure(f"data.root={copy}"))
    gone = trainer.validator.utterances[0].path
    gone.unlink()
    with pytest.raises(TrainingError, match=rf"iteration 3: {gone}: expected audio; .*training-00000002.pt"):
        trainer.run()


def test_a_gpu_that_is_too_small_is_told_in_one_line(configure: Configure) -> None:
    trainer = trainer_of(configure("train.batch_size=4", "train.accumulate=2"))

    def step(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmuch")

    trainer.learner.step = step  # type: ignore[assignment]
    with pytest.raises(TrainingError, match=r"memory for 2 crops at once; .* train.accumulate=4 takes half of them"):
        trainer.run()


def test_the_diagnosis_names_the_parameter_whose_gradient_is_no_number(configure: Configure) -> None:
    trainer = trainer_of(configure())
    spoiled = trainer.learner.network.residual_layers[1].output_projection.bias
    spoiled.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(TrainingError, match="gradient norm nan"):
        trainer.run()
    (path,) = Path(trainer.folder.path).glob("diagnosis-*.json")
    found = json.loads(path.read_text())
    assert found["not_finite"] == {"weights": [], "gradients": ["residual_layers.1.output_projection.bias"]}


def test_best_weights_begin_anew_with_other_validation_utterances_or_another_loss(
    configure: Configure, tmp_path: Path
) -> None:
    run = train(configure())
    utterances = find_utterances(configure().data, 16000)
    write_manifest(tmp_path / "val.jsonl", utterances[1:2])
    other = f"data.validation_manifest={tmp_path / 'val.jsonl'}"
    assert trainer_of(configure("train.iterations=9")).progress.best
    assert not trainer_of(configure("train.iterations=9", other)).progress.best
    assert not trainer_of(configure("train.iterations=9", "train.loss=l1")).progress.best
    shutil.rmtree(run / "best")
    train(configure("train.iterations=9"))
    assert (run / "best" / "model.safetensors").is_file()


def test_outputs_that_cannot_be_made_cost_a_line_and_not_the_run(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OutputMaker, "make", lambda *_: (_ for _ in ()).throw(ImportError("no matplotlib\nat all")))
    run = train(configure("train.outputs_every=3"))
    assert states(run)[-1].name == "training-00000006.pt"
    told = (run / "train.log").read_text()
    assert "no outputs of iteration 3: ImportError('no matplotlib" in told


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WORLD_SIZE", "x", "WORLD_SIZE: expected a whole number, as torchrun sets it; got 'x'"),
        ("WORLD_SIZE", "2", "WORLD_SIZE=2: expected MASTER_ADDR too, as torchrun sets it; it is not set"),
    ],
)
def test_half_of_an_environment_of_torchrun_is_refused(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=re.escape(message)):
        trainer_of(configure())
