"""A run that begins with another network: the same function for the same mel, nearly the same for another."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from diffwave.assets import bundled_utterance
from diffwave.audio.file import read_audio
from diffwave.checkpoint.folder import Checkpoint, CheckpointError, checkpoint_folder, load_checkpoint
from diffwave.config import ConfigError, DiffusionConfig, MelConfig, ModelConfig, NetworkConfig
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.diffwave import DiffWave
from diffwave.training.warm_start import warm_weights
from runs import Configure, state, train, trainer_of
from tiny import random_weights

FINER = {"win_length": 640, "hop_length": 160, "n_mels": 100}


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


def test_of_a_finer_mel_it_says_nearly_the_same(packaged: Checkpoint) -> None:
    speech = read_audio(bundled_utterance(), 16000).wav[: 1280 * 20]
    old = _alone(packaged.config)
    mel = dataclasses.replace(old.mel, **FINER)
    # Shorter windows give smaller magnitudes: by the root of the lengths for noise.
    network = dataclasses.replace(old.network, condition_mean=old.network.condition_mean - 0.3)
    new = dataclasses.replace(old, mel=mel, network=network)
    theirs = _estimates(packaged.build(), old, speech)
    warm, cold = (_estimates(each, new, speech) for each in (_warm(packaged, new), _new(new)))
    assert (warm - theirs).square().mean() < 0.15 * theirs.square().mean()
    assert (cold - theirs).square().mean() > 0.5 * theirs.square().mean()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": NetworkConfig(8, 3)}, "model.network.residual_layers=2 as in the checkpoint; got 3"),
        ({"network": NetworkConfig(8, 2, parameterization="clean")}, "model.network.parameterization=noise as in"),
        ({"diffusion": DiffusionConfig(prior="energy")}, "model.diffusion.prior=standard as in"),
        ({"mel": MelConfig(sample_rate=22050)}, "model.mel.sample_rate=16000 as in the checkpoint; got 22050"),
        ({"mel": MelConfig(log="log10")}, "model.mel.log=ln as in the checkpoint; got log10"),
        # The spectral prior whitens by the bands that there are.
        ({"mel": MelConfig(f_min=80.0)}, "model.mel.f_min=0.0 as in the checkpoint; got 80.0"),
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
