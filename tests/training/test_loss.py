from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffwave.config import BASE, ModelConfig, NetworkConfig
from diffwave.data import CropDataset, context_samples, find_utterances, read_segment
from diffwave.mel import MelSpectrogram
from diffwave.model import make_prior
from diffwave.network import DiffWave
from diffwave.training.loss import Batch, DiffusionLoss
from runs import Configure


def batch_of(config: ModelConfig, crops: Tensor) -> Batch:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(crops), crops.shape[1] - 2 * context_samples(config.mel), generator=generator)
    return Batch(crops, noise, torch.linspace(0, config.diffusion.steps - 1, len(crops)).round())


@pytest.fixture
def crops(corpus: Path, configure: Configure) -> Tensor:
    config = configure()
    utterances = find_utterances(config.data, 16000)
    dataset = CropDataset(utterances, config.model.mel, 8, seed=0)
    return torch.stack([dataset[number].wav for number in range(3)])


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
