"""A run that begins with another network: the same function for the same mel, nearly the same for another."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from torch import Tensor

from diffwave.assets import bundled_utterance
from diffwave.audio.file import read_audio, resample
from diffwave.checkpoint.folder import Checkpoint, CheckpointError, checkpoint_folder, load_checkpoint
from diffwave.config import ConfigError, DiffusionConfig, MelConfig, ModelConfig, NetworkConfig, mel_preset
from diffwave.mel.spectrogram import MelSpectrogram, band_corners
from diffwave.network.diffwave import DiffWave
from diffwave.training.loss.diffusion_loss import Batch, DiffusionLoss
from diffwave.training.warm_start import warm_weights
from runs import Configure, state, train, trainer_of
from tiny import random_weights


def _new(config: ModelConfig) -> DiffWave:
    torch.manual_seed(5)
    return DiffWave(config).eval()


def _warm(source: Checkpoint, config: ModelConfig) -> DiffWave:
    network = _new(config)
    network.load_state_dict(warm_weights(source, network, config))
    return network


@pytest.fixture(scope="module")
def packaged() -> Checkpoint:
    return load_checkpoint(checkpoint_folder("default"))


def _alone(config: ModelConfig) -> ModelConfig:
    """Without a refiner, as every new model is."""
    sampling = dataclasses.replace(config.sampling, refinements=0)
    return dataclasses.replace(config, sampling=sampling, refiner=ModelConfig().refiner)


def test_of_the_same_model_it_is_the_same_network(packaged: Checkpoint) -> None:
    config = _alone(packaged.config)
    found, own = _warm(packaged, config).state_dict(), packaged.build().state_dict()
    assert found.keys() == own.keys()
    assert all(torch.equal(found[name], own[name]) for name in own)


def _estimates(network: DiffWave, config: ModelConfig, speech: Tensor) -> Tensor:
    """What a network says of noisy speech, whose mel it is given, ``[B, N]``."""
    noise = torch.randn(len(speech), generator=torch.Generator().manual_seed(0))
    noisy = (0.6 * 10 * speech + 0.8 * noise).unsqueeze(0)
    with torch.inference_mode():
        mel = MelSpectrogram(config.mel)(speech.unsqueeze(0))
        return network(noisy, torch.tensor([25.0]), network.condition(mel))


def _in_range(source: Checkpoint, config: ModelConfig) -> ModelConfig:
    """Normalised as the message says, if there is one."""
    try:
        warm_weights(source, _new(config), config)
    except ConfigError as error:
        mean, std = map(float, re.findall(r"condition_(?:mean|std)=([-.\d]+)\b", str(error)))
        network = dataclasses.replace(config.network, condition_mean=mean, condition_std=std)
        return dataclasses.replace(config, network=network)
    return config


def _of(source: Checkpoint, mel: MelConfig) -> ModelConfig:
    return _in_range(source, dataclasses.replace(_alone(source.config), mel=mel))


@pytest.mark.parametrize(
    ("mel", "error"),
    [
        (MelConfig(log="log10"), 1e-3),  # but for the digits of the message
        (MelConfig(log="db", mean=(-50.0,), scale=(20.0,)), 1e-3),
        (MelConfig(mean=tuple(torch.linspace(-6, -5, 80).tolist()), scale=(1.8, 2.2) * 40), 0.1),
        (MelConfig(spectrum="power", floor=1e-10), 0.1),
        (MelConfig(floor_added=True), 0.01),
        (MelConfig(mel_norm="none"), 0.02),
        (MelConfig(stft_normalized=True), 1e-3),
        (MelConfig(mel_scale="htk"), 0.1),
        (MelConfig(mel_scale="htk", mel_norm="none"), 0.1),
        (MelConfig(n_fft=2048), 1e-3),
        (MelConfig(win_length=640, hop_length=160, n_mels=100), 0.15),
    ],
)
def test_of_another_mel_it_says_nearly_the_same(packaged: Checkpoint, mel: MelConfig, error: float) -> None:
    speech = read_audio(bundled_utterance(), 16000).wav[: 1280 * 40]
    theirs = _estimates(packaged.build(), packaged.config, speech)
    new = _of(packaged, mel)
    warm, cold = (_estimates(each, new, speech) for each in (_warm(packaged, new), _new(new)))
    assert (warm - theirs).square().mean() < error * theirs.square().mean()
    assert (cold - theirs).square().mean() > 0.5 * theirs.square().mean()


def _validation_loss(network: DiffWave, config: ModelConfig, speech: np.ndarray) -> float:
    """Mean loss at some noise levels of the bundled utterance, at the mel's rate."""
    loss = DiffusionLoss(config, "l2", "float32")
    wav = torch.from_numpy(resample(speech, 16000, config.mel.sample_rate))
    samples = config.mel.sample_rate // config.mel.hop_length * config.mel.hop_length
    steps = torch.tensor([10.0, 20.0, 30.0, 40.0])
    noise = torch.randn(len(steps), samples, generator=torch.Generator().manual_seed(0))
    crop = wav[: samples + 2 * loss.context].expand(len(steps), -1)
    with torch.inference_mode():
        return float(loss(network, network.condition, Batch(crop, noise, steps)).mean())


@pytest.mark.parametrize(
    "mel",
    [
        mel_preset("speecht5-16k"),
        mel_preset("hifigan-22k"),
        mel_preset("vocos-24k"),
        mel_preset("gpt-sovits-24k"),
    ],
    ids=lambda mel: mel.describe(),
)
def test_before_any_learning_it_is_better_than_a_fresh_one(packaged: Checkpoint, mel: MelConfig) -> None:
    speech = read_audio(bundled_utterance(), 16000).wav.numpy()
    config = _of(packaged, mel)
    warm, cold = (_validation_loss(each, config, speech) for each in (_warm(packaged, config), _new(config)))
    assert warm < 0.99 * cold


def test_the_range_that_the_network_knows_is_told(packaged: Checkpoint) -> None:
    config = dataclasses.replace(_alone(packaged.config), mel=MelConfig(log="log10"))
    said = r"condition_mean=-2\.43 model\.network\.condition_std=0\.91; got -5\.6 and 2\.1"
    with pytest.raises(ConfigError, match=said):
        warm_weights(packaged, _new(config), config)


def test_bands_are_read_off_in_hz(packaged: Checkpoint) -> None:
    """A band that both mels have is read where it lies, whatever its number; bands beyond the new range at its end."""
    mel = MelConfig(sample_rate=8000, n_fft=512, win_length=512, hop_length=128, f_max=4000.0, n_mels=40)
    config = _of(packaged, mel)
    name = "residual_layers.0.conditioner_projection.weight"
    found, old = (each.state_dict()[name][..., 0] for each in (_warm(packaged, config), packaged.build()))
    above = band_corners(packaged.config.mel)[1:-1] > 4000
    torch.testing.assert_close(found.sum(dim=1), old.sum(dim=1), atol=1e-4, rtol=1e-4)
    assert (found[:, -1] - old[:, above].sum(dim=1)).abs().mean() < 0.5 * found[:, -1].abs().mean()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": NetworkConfig(8, 3)}, "model.network.residual_layers=2 as in the checkpoint; got 3"),
        ({"network": NetworkConfig(8, 2, parameterization="clean")}, "model.network.parameterization=noise as in"),
        ({"diffusion": DiffusionConfig(prior="energy")}, "model.diffusion.prior=standard as in"),
        (
            {"mel": MelConfig(log="db01")},
            r"logarithms that can be undone .*; got model.mel.log=db01, the checkpoint's is ln",
        ),
    ],
)
def test_weights_that_would_mean_something_else_are_refused(changes: dict[str, object], said: str) -> None:
    config = ModelConfig(network=NetworkConfig(residual_channels=8, residual_layers=2))
    source = Checkpoint(config, DiffWave(config).state_dict())
    other = dataclasses.replace(config, **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"train.start_from: expected {said}"):
        warm_weights(source, _new(other), other)


@pytest.mark.parametrize(("hop", "bands"), [(8, 80), (64, 1), (200, 2), (241, 60), (300, 128)])
def test_any_hop_and_any_number_of_bands(hop: int, bands: int) -> None:
    config = ModelConfig(network=NetworkConfig(residual_channels=8, residual_layers=2))
    network = DiffWave(config)
    random_weights(network)
    other = dataclasses.replace(config, mel=dataclasses.replace(config.mel, hop_length=hop, n_mels=bands))
    warm = _warm(Checkpoint(config, network.state_dict()), other)
    assert all(bool(torch.isfinite(value).all()) for value in warm.state_dict().values())
    assert torch.equal(warm.input_projection.weight, network.input_projection.weight)


def test_a_run_begins_with_a_checkpoint_and_tells(configure: Configure) -> None:
    first = train(configure(run="first"))
    source = load_checkpoint(first)
    config = configure(f"train.start_from={first}", "train.learning_rate=1e-9", "train.iterations=3", run="second")
    run = train(config)
    found = load_checkpoint(run)
    assert found.training["started_from"] == "first, 6 iterations"
    for name, value in source.weights.items():
        torch.testing.assert_close(found.weights[name], value, atol=1e-6, rtol=0)
    assert "starts from first, 6 iterations: its network; refiner and schedules" in (run / "train.log").read_text()
    # Going on takes the run's own weights, and still knows.
    again = train(configure("train.iterations=4", "train.learning_rate=1e-9", run="second"))
    assert load_checkpoint(again).training["started_from"] == "first, 6 iterations"
    assert state(again / "training-00000004.pt")["progress"]["iteration"] == 4
    assert "changed since: train.start_from" not in (again / "train.log").read_text()
    best = trainer_of(configure(f"train.start_from={first}/best", run="third"))
    assert best.progress.started_from == "first/best, 6 iterations"


def test_where_there_is_no_checkpoint_nothing_is_made(configure: Configure) -> None:
    config = configure("train.start_from=nowhere", run="none")
    with pytest.raises(CheckpointError, match="nowhere: expected a checkpoint folder or"):
        trainer_of(config)
