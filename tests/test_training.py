from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from diffwave.checkpoint import load_checkpoint
from diffwave.cli.train import compose_config
from diffwave.config import BASE, ConfigError, ModelConfig, NetworkConfig, TrainingConfig
from diffwave.data import CropDataset, context_samples, find_utterances, read_segment
from diffwave.loss import Batch, DiffusionLoss
from diffwave.mel import MelSpectrogram
from diffwave.model import make_prior
from diffwave.network import DiffWave
from diffwave.training import Trainer, TrainingError, _ema
from diffwave.training_state import exclusive, newest_state, prune_states, save_state, states
from diffwave.vocoder import Vocoder

SMALL = [
    "experiment=debug_cpu",
    "model.network.residual_channels=8",
    "model.network.residual_layers=2",
    "data.crop_frames=8",
    "train.batch_size=2",
    "train.validation_utterances=1",
    "train.device=cpu",
    "train.iterations=6",
    "train.checkpoint_every=2",
    "train.validate_every=3",
    "train.log_every=2",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three utterances of a gliding buzz, each another speaker."""
    root = tmp_path_factory.mktemp("corpus")
    for number, samples in enumerate((9000, 12000, 7001)):
        rng = np.random.default_rng(number)
        time = np.arange(samples) / 16000
        phase = 2 * np.pi * np.cumsum(120 + 30 * number + 20 * np.sin(9 * time)) / 16000
        wav = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.abs(np.sin(11 * time)) * 0.15
        folder = root / f"speaker{number}"
        folder.mkdir()
        soundfile.write(folder / "a.flac", wav + 0.002 * rng.standard_normal(samples), 16000)
    return root


Configure = Callable[..., TrainingConfig]


@pytest.fixture
def configure(corpus: Path, tmp_path: Path) -> Configure:
    def make(*overrides: str, run: str = "run") -> TrainingConfig:
        return compose_config([*SMALL, f"data.root={corpus}", f"run_dir={tmp_path / run}", *overrides])

    return make


def train(config: TrainingConfig) -> Path:
    Trainer(config).run()
    return Path(config.run_dir)


def history(run: Path, key: str) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [(row["iteration"], row[key]) for row in rows if key in row]


def state(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def equal(first: Any, second: Any) -> bool:
    """Bit for bit, through nested dictionaries and lists."""
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return bool(first == second)


def same_training(first: Path, second: Path) -> bool:
    one, two = state(first), state(second)
    return all(equal(one[part], two[part]) for part in ("iteration", "network", "average", "optimizer"))


def test_a_run_leaves_states_a_checkpoint_and_a_history(configure: Configure) -> None:
    config = configure()
    run = train(config)
    assert sorted(path.name for path in run.iterdir()) == [
        "config.json", "history.jsonl", "lock", "model.safetensors", "training-00000004.pt", "training-00000006.pt",
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
    trainer = Trainer(config)
    assert trainer.iteration == 4
    trainer.run()
    assert same_training(kept, newest)


def test_a_finished_run_stays_as_it_is(configure: Configure) -> None:
    config = configure("train.iterations=2")
    run = train(config)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    train(config)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


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
        Trainer(configure(override))
    assert (run / "training-00000001.pt").read_bytes() == before


def test_how_it_is_sampled_and_trained_may_change(configure: Configure) -> None:
    train(configure("train.iterations=1"))
    run = train(configure("train.iterations=2", "model.sampling.steps=3", "train.learning_rate=1e-4", "train.loss=l1"))
    assert load_checkpoint(run).config.sampling.steps == 3
    assert load_checkpoint(run).training["iterations"] == 2


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_its_checkpoint(configure: Configure) -> None:
    run = train(configure("train.iterations=1"))
    before = (run / "model.safetensors").read_bytes()
    trainer = Trainer(configure())
    with torch.no_grad():
        trainer.network.skip_projection.weight.fill_(math.nan)
    with pytest.raises(TrainingError, match=rf"iteration 1: loss nan.*checkpoint is in {run}"):
        trainer.run()
    assert (run / "model.safetensors").read_bytes() == before
    assert [path.name for path in states(run)] == ["training-00000001.pt"]


def test_the_network_learns(configure: Configure) -> None:
    trainer = Trainer(configure(
        "train.iterations=100", "train.validate_every=100", "train.log_every=100", "train.checkpoint_every=100",
        "train.learning_rate=3e-3", "train.batch_size=4", "train.ema_decay=0.9",
    ))  # fmt: skip
    untrained = trainer.validate()
    trainer.run()
    assert trainer.validate() < 0.9 * untrained


def test_the_learning_rate_rises_and_falls_linearly(configure: Configure, monkeypatch) -> None:
    trainer = Trainer(configure(
        "train.iterations=8", "train.warmup=4", "train.decay_iterations=2", "train.learning_rate=0.1",
        "train.validate_every=100", "train.checkpoint_every=100",
    ))  # fmt: skip
    rates: list[float] = []
    monkeypatch.setattr(trainer.optimizer, "step", lambda: rates.append(trainer.optimizer.param_groups[0]["lr"]))
    trainer.run()
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1, 0.05])


def test_the_gradient_is_clipped_to_its_norm(configure: Configure, monkeypatch) -> None:
    trainer = Trainer(configure("train.iterations=1", "train.gradient_clip=0.001"))
    norms: list[float] = []

    def step() -> None:
        gradients = [p.grad.flatten() for p in trainer.network.parameters() if p.grad is not None]
        norms.append(float(torch.cat(gradients).norm()))

    monkeypatch.setattr(trainer.optimizer, "step", step)
    trainer.run()
    assert norms == pytest.approx([0.001], rel=1e-3)


def test_the_average_follows_its_recursion() -> None:
    # After n updates the weight of the past is min(decay, (1 + n) / (10 + n)); the first update copies.
    line = torch.nn.Linear(1, 1, bias=False)
    average = AveragedModel(line, multi_avg_fn=_ema(0.15))
    expected = 0.0
    for count, value in enumerate((5.0, 1.0, -3.0, 7.0)):
        torch.nn.init.constant_(line.weight, value)
        average.update_parameters(line)
        decay = 0.0 if count == 0 else min(0.15, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)


def batch_of(config: ModelConfig, crops: Tensor) -> Batch:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(crops), crops.shape[1] - 2 * context_samples(config.mel), generator=generator)
    return Batch(crops, noise, torch.linspace(0, config.diffusion.steps - 1, len(crops)).round())


@pytest.fixture
def crops(corpus: Path, configure: Configure) -> Tensor:
    config = configure()
    utterances = find_utterances(config.data, 16000)
    dataset = CropDataset(utterances, config.model.mel, 8, seed=0)
    return torch.stack([dataset[number] for number in range(3)])


@pytest.mark.parametrize(("kind", "power"), [("l1", 1), ("l2", 2)])
def test_the_loss_of_an_untrained_network_is_that_of_the_noise(crops: Tensor, kind: str, power: int) -> None:
    # The output layer starts at zero: the loss of each example is the mean of |noise - bias| ** power.
    config = dataclasses.replace(BASE, network=NetworkConfig(8, 2))
    network = DiffWave(config)
    bias = network.output_projection.bias.item()
    batch = batch_of(config, crops)
    losses = DiffusionLoss(config, kind, "float32")(network, network.condition, batch)
    expected = [float((row - bias).abs().pow(power).mean()) for row in batch.noise]
    assert losses.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("parameterization", ["noise", "velocity"])
@pytest.mark.parametrize("prior", ["standard", "spectral"])
def test_a_network_that_knows_the_whitened_signal_has_no_loss(
    configure: Configure, crops: Tensor, parameterization: str, prior: str
) -> None:
    model = configure(f"model.diffusion.prior={prior}", f"model.network.parameterization={parameterization}").model
    batch = batch_of(model, crops)
    loss = DiffusionLoss(model, "l1", "float32")
    front_end = MelSpectrogram(model.mel)
    # By hand: whiten the crop with all of its context, and only then cut it.
    whitened = make_prior(model.diffusion, front_end, front_end(crops)).whiten(crops)
    clean = whitened[:, loss.context : -loss.context]
    signal, sigma = (level.unsqueeze(-1).float() for level in loss.schedule.levels(batch.step))

    def knowing(noisy: Tensor, step: Tensor, condition: object) -> Tensor:
        noise = (noisy - signal * clean) / sigma
        return noise if parameterization == "noise" else signal * noise - sigma * clean

    losses = loss(knowing, lambda mel: mel, batch)
    # Near step 0 the noise is a small difference: relative to sigma = .02.
    assert float(losses.max()) < 2e-3
    off = loss(lambda *args: knowing(*args) + 1, lambda mel: mel, batch)
    torch.testing.assert_close(off, torch.ones(3), rtol=0, atol=3e-3)


def test_the_network_is_given_the_mel_of_the_whole_utterance(corpus: Path, configure: Configure) -> None:
    config = configure()
    mel, context = config.model.mel, context_samples(config.model.mel)
    utterance = find_utterances(config.data, 16000)[0]
    start = 10 * mel.hop_length
    crop = read_segment(utterance, start - context, 8 * mel.hop_length + 2 * context).unsqueeze(0)
    seen: list[Tensor] = []

    def note(piece: Tensor) -> Tensor:
        seen.append(piece)
        return piece

    loss = DiffusionLoss(config.model, "l2", "float32")
    loss(lambda noisy, step, condition: noisy, note, batch_of(config.model, crop))
    whole = read_segment(utterance, 0, utterance.samples // mel.hop_length * mel.hop_length)
    expected = MelSpectrogram(mel)(whole.unsqueeze(0))[..., 10:18]
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=2e-3)


def test_bfloat16_training_stays_close_to_float32(configure: Configure) -> None:
    one, two = (
        train(configure(f"train.precision={precision}", run=precision)) for precision in ("float32", "bfloat16")
    )
    for (_, full), (_, half) in zip(history(one, "loss"), history(two, "loss"), strict=True):
        assert half == pytest.approx(full, rel=0.02)


def test_states_are_sorted_by_number_and_pruned_oldest_first(tmp_path: Path) -> None:
    for iteration in (5, 100_000_000, 20):
        save_state(tmp_path, iteration, {"iteration": iteration})
    (tmp_path / "training-best.pt").write_text("not one of ours")
    assert [path.name for path in states(tmp_path)] == [
        "training-00000005.pt", "training-00000020.pt", "training-100000000.pt",
    ]  # fmt: skip
    prune_states(tmp_path, 1)
    assert [path.name for path in states(tmp_path)] == ["training-100000000.pt"]
    assert (tmp_path / "training-best.pt").exists()


def test_an_empty_run_directory_holds_no_state(tmp_path: Path) -> None:
    assert newest_state(tmp_path, {}) is None
    assert newest_state(tmp_path / "nowhere", {}) is None


def test_a_stop_in_the_middle_of_an_iteration_waits_for_its_end(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(configure(run="straight"))
    config = configure("train.checkpoint_every=100", run="interrupted")
    trainer = Trainer(config)
    update, calls = trainer.average.update_parameters, []

    def interrupted(network: torch.nn.Module) -> None:
        calls.append(network)
        if len(calls) == 3:  # the optimiser has moved, the average has not
            trainer.stop()
        update(network)

    monkeypatch.setattr(trainer.average, "update_parameters", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    run = train(config)
    assert same_training(straight / "training-00000006.pt", run / "training-00000006.pt")


def test_a_second_training_is_kept_out_of_the_run_directory(configure: Configure) -> None:
    config = configure()
    with exclusive(Path(config.run_dir)), pytest.raises(ConfigError, match="one is running"):
        train(config)
    assert train(config) == Path(config.run_dir)


def test_a_batch_larger_than_the_data_is_refused_before_it_is_read(configure: Configure) -> None:
    with pytest.raises(ConfigError, match=r"train.batch_size=1000 is larger than the data: \d+ crops of 8 frames"):
        Trainer(configure("train.batch_size=1000"))


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
