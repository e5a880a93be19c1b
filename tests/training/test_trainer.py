from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path

import pytest
import torch

from diffwave.checkpoint.folder import load_checkpoint
from diffwave.config import ConfigError
from diffwave.corpus.manifest import write_manifest
from diffwave.corpus.selection import find_utterances
from diffwave.errors import TrainingError
from diffwave.training.record.states import exclusive, states
from diffwave.vocoder import Vocoder
from runs import Configure, history, same_training, state, train, trainer_of


def test_a_run_leaves_states_a_checkpoint_and_a_history(configure: Configure) -> None:
    config = configure()
    run = train(config)
    assert sorted(path.name for path in run.iterdir()) == [
        "best", "config.json", "history.jsonl", "lock", "model.safetensors",
        "train.log", "training-00000004.pt", "training-00000006.pt",
    ]  # fmt: skip
    assert [iteration for iteration, _ in history(run, "loss")] == [2, 4, 6]
    assert [iteration for iteration, _ in history(run, "validation_loss")] == [3, 6]
    for key in ("loss", "validation_loss", "gradient_norm"):
        assert all(0 < value < 100 for _, value in history(run, key))
    checkpoint = load_checkpoint(run)
    assert checkpoint.config == config.model
    assert checkpoint.training["iterations"] == 6
    # What is exported is the average, not the last weights.
    last = state(run / "training-00000006.pt")
    for name, value in checkpoint.weights.items():
        assert torch.equal(value, last["average"]["module." + name])
    assert not torch.equal(checkpoint.weights["skip_projection.weight"], last["network"]["skip_projection.weight"])


def test_the_run_directory_is_a_vocoder(configure: Configure) -> None:
    run = train(configure("train.iterations=1"))
    vocoder = Vocoder.from_pretrained(run, "cpu")
    wav = vocoder.synthesize(vocoder.mel(0.1 * torch.sin(torch.arange(2560) / 10)), steps=2)
    assert wav.shape == (2560,)
    assert bool(torch.isfinite(wav).all())


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(configure: Configure) -> None:
    straight = train(configure("train.warmup=4", run="straight"))
    stopped = configure("train.warmup=4", "train.iterations=3", run="stopped")
    train(stopped)
    resumed = train(configure("train.warmup=4", run="stopped"))
    assert same_training(straight / "training-00000006.pt", resumed / "training-00000006.pt")
    assert (straight / "model.safetensors").read_bytes() == (resumed / "model.safetensors").read_bytes()
    assert history(straight, "validation_loss") == history(resumed, "validation_loss")


def test_two_runs_agree_and_another_seed_does_not(configure: Configure) -> None:
    runs = [train(configure("train.iterations=2", *more, run=name)) for name, more in
            (("a", []), ("b", []), ("c", ["train.seed=1"]))]  # fmt: skip
    first, again, other = ((run / "model.safetensors").read_bytes() for run in runs)
    assert first == again
    assert first != other


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_state_gives_way_to_the_one_before(configure: Configure, share: float) -> None:
    config = configure()
    run = train(config)
    newest, kept = run / "training-00000006.pt", run / "kept.pt"
    data = newest.read_bytes()
    kept.write_bytes(data)
    newest.write_bytes(data[: int(share * len(data))])
    trainer = trainer_of(config)
    assert trainer.iteration == 4
    trainer.run()
    assert same_training(kept, newest)


def test_a_finished_run_stays_as_it_is(configure: Configure) -> None:
    config = configure("train.iterations=2")
    run = train(config)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    train(config)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.network.residual_channels=4", "another model.network: residual_channels was 8, now 4"),
        ("model.mel.f_max=7600", "another model.mel: f_max was 8000.0, now 7600.0"),
        ("model.diffusion.steps=40", "another model.diffusion: steps was 50, now 40"),
    ],
)
def test_a_changed_architecture_is_refused_by_field(configure: Configure, override: str, message: str) -> None:
    run = train(configure("train.iterations=1"))
    before = (run / "training-00000001.pt").read_bytes()
    with pytest.raises(ConfigError, match=message):
        trainer_of(configure(override))
    assert (run / "training-00000001.pt").read_bytes() == before


def test_how_it_is_sampled_and_trained_may_change(configure: Configure) -> None:
    train(configure("train.iterations=1"))
    run = train(configure("train.iterations=2", "model.sampling.steps=3", "train.learning_rate=1e-4", "train.loss=l1"))
    assert load_checkpoint(run).config.sampling.steps == 3
    assert load_checkpoint(run).training["iterations"] == 2


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_its_checkpoint(configure: Configure) -> None:
    run = train(configure("train.iterations=1"))
    before = (run / "model.safetensors").read_bytes()
    trainer = trainer_of(configure())
    with torch.no_grad():
        trainer.learner.network.skip_projection.weight.fill_(math.nan)
    with pytest.raises(TrainingError, match=rf"iteration 1: loss nan.*the last good state is {run}"):
        trainer.run()
    assert (run / "model.safetensors").read_bytes() == before
    assert [path.name for path in states(run)] == ["training-00000001.pt"]


def test_the_network_learns(configure: Configure) -> None:
    trainer = trainer_of(configure(
        "train.iterations=100", "train.validate_every=100", "train.log_every=100", "train.checkpoint_every=100",
        "train.learning_rate=3e-3", "train.batch_size=4", "train.ema_decay=0.9",
    ))  # fmt: skip
    untrained = trainer.validator.figures()["validation_loss"]
    trainer.run()
    assert trainer.validator.figures()["validation_loss"] < 0.9 * untrained


def test_bfloat16_training_stays_close_to_float32(configure: Configure) -> None:
    one, two = (
        train(configure(f"train.precision={precision}", run=precision)) for precision in ("float32", "bfloat16")
    )
    for (_, full), (_, half) in zip(history(one, "loss"), history(two, "loss"), strict=True):
        assert half == pytest.approx(full, rel=0.02)


def test_a_second_training_is_kept_out_of_the_run_directory(configure: Configure) -> None:
    config = configure()
    with exclusive(Path(config.run_dir)), pytest.raises(ConfigError, match="one is running"):
        train(config)
    assert train(config) == Path(config.run_dir)


def test_a_batch_larger_than_the_data_is_refused_before_it_is_read(configure: Configure) -> None:
    with pytest.raises(ConfigError, match=r"train.batch_size=1000 is larger than the data: \d+ crops of 8 frames"):
        trainer_of(configure("train.batch_size=1000"))


def test_the_history_of_lost_iterations_is_dropped(configure: Configure) -> None:
    config = configure("train.log_every=1", "train.checkpoint_every=4")
    run = train(config)
    for path in states(run)[1:]:
        path.unlink()
    with (run / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"iteration": 5, "lo')
    train(config)
    assert [iteration for iteration, _ in history(run, "loss")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("train.seed=-1", "train.seed cannot be negative"),
        ("train.threads=-1", "train.threads cannot be negative"),
        ("train.decay_iterations=-3", "train.decay_iterations cannot be negative"),
        ("train.warmup=-5", "train.warmup cannot be negative"),
        ("train.validation_utterances=0", "train.validation_utterances must be at least 1"),
        ("train.learning_rate=inf", "positive, finite learning_rate"),
    ],
)
def test_settings_that_cannot_work_are_refused(configure: Configure, setting: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        configure(setting)


def test_a_run_directory_that_is_a_file_is_refused(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected a folder that can be written"):
        train(configure())


def test_a_compiled_network_learns_the_same(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    # Traced and differentiated ahead of time, but not turned into C++, which takes a minute.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    plain, compiled = (
        train(configure(f"train.compile={value}", "train.iterations=3", run=str(value))) for value in (False, True)
    )
    for (_, one), (_, other) in zip(history(plain, "loss"), history(compiled, "loss"), strict=True):
        assert other == pytest.approx(one, rel=1e-4)
    # Names of the weights are those of the plain network, so that each can go on with the other's run.
    assert load_checkpoint(compiled).weights.keys() == load_checkpoint(plain).weights.keys()


def test_accumulated_micro_batches_learn_what_the_batch_does(configure: Configure) -> None:
    whole, parts = (
        train(configure("train.batch_size=6", f"train.accumulate={count}", "train.iterations=2", run=str(count)))
        for count in (1, 3)
    )
    for (_, one), (_, other) in zip(history(whole, "loss"), history(parts, "loss"), strict=True):
        assert other == pytest.approx(one, rel=1e-5)


def test_the_best_weights_stay_when_later_ones_are_worse(configure: Configure) -> None:
    config = configure("train.iterations=4", "train.validate_every=1", "train.checkpoint_every=4")
    trainer = trainer_of(config)
    figures = iter((0.9, 0.5, 0.7, 0.5))
    trainer.validator.figures = lambda: {  # type: ignore[method-assign]
        "validation_loss": next(figures), "validation_loss_by_noise": [None] * 5
    }  # fmt: skip
    trainer.run()
    run = Path(config.run_dir)
    best = load_checkpoint(run / "best")
    assert (best.training["iterations"], best.training["validation_loss"]) == (2, 0.5)
    assert load_checkpoint(run).training["iterations"] == 4
    resumed = trainer_of(configure("train.iterations=5", "train.validate_every=1"))
    assert resumed.progress.best["iteration"] == 2


def test_loss_by_noise_adds_up_to_the_loss(configure: Configure) -> None:
    run = train(configure("train.iterations=1", "train.log_every=1", "train.batch_size=8"))
    trainer = trainer_of(configure("train.batch_size=8", run="other"))
    step = trainer.learner.step(trainer._next(iter(trainer._loader())), 0)
    sigma = trainer.learner.loss.schedule.levels(step.steps)[1]
    ((_, by_noise),) = history(run, "loss_by_noise")
    for index, mean in enumerate(by_noise):
        inside = (sigma >= index / 5) & ((sigma < (index + 1) / 5) | (index == 4))
        if mean is None:
            assert not inside.any()
        else:
            assert mean == pytest.approx(float(step.losses[inside].mean()), rel=1e-5)
    ((_, loss),) = history(run, "loss")
    assert loss == pytest.approx(float(step.losses.mean()), rel=1e-5)


def test_validation_takes_one_utterance_of_each_speaker_first(configure: Configure, tmp_path: Path) -> None:
    utterances = find_utterances(configure().data, 16000)
    same = [dataclasses.replace(utterances[0], path=utterances[0].path.parent / ".." / "speaker0" / "a.flac")]
    write_manifest(tmp_path / "val.jsonl", [utterances[0], *same, utterances[1]])
    config = configure(f"data.validation_manifest={tmp_path / 'val.jsonl'}", "train.validation_utterances=2")
    assert [u.speaker for u in trainer_of(config).validator.utterances] == ["speaker0", "speaker1"]


def test_seconds_add_up_over_restarts_and_the_best_say_so(configure: Configure) -> None:
    run = train(configure("train.iterations=3"))
    first = state(run / "training-00000003.pt")["progress"]["seconds"]
    train(configure("train.iterations=4"))
    assert state(run / "training-00000004.pt")["progress"]["seconds"] > first > 0
    assert load_checkpoint(run / "best").training["best"] is True
    assert load_checkpoint(run).training["best"] is False
