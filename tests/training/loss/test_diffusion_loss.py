from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffwave.config import BASE, ModelConfig, NetworkConfig
from diffwave.corpus.segments import read_segment
from diffwave.corpus.selection import find_utterances
from diffwave.mel.prior import make_prior
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.diffwave import DiffWave
from diffwave.training.crops import CropDataset, context_samples
from diffwave.training.loss.diffusion_loss import Batch, DiffusionLoss, Objective
from diffwave.training.loss.noise_levels import step_weights
from diffwave.vocoder import Vocoder
from runs import Configure, history, train, trainer_of


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


@pytest.mark.parametrize("parameterization", ["noise", "velocity", "clean"])
@pytest.mark.parametrize("prior", ["standard", "spectral", "energy"])
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
        return {"noise": noise, "velocity": signal * noise - sigma * clean, "clean": clean}[parameterization]

    losses = loss(knowing, lambda mel: mel, batch)
    # Near step 0 the noise is a small difference: relative to sigma = .02.
    assert float(losses.max()) < 2e-3
    off = loss(lambda *args: knowing(*args) + 1, lambda mel: mel, batch)
    torch.testing.assert_close(off, torch.ones(3), rtol=0, atol=3e-3)


@pytest.mark.parametrize("parameterization", ["noise", "velocity", "clean"])
@pytest.mark.parametrize("prior", ["standard", "spectral", "energy"])
def test_the_stft_term_is_zero_for_a_perfect_answer_and_falls_with_the_share_of_signal(
    configure: Configure, crops: Tensor, parameterization: str, prior: str
) -> None:
    model = configure(f"model.diffusion.prior={prior}", f"model.network.parameterization={parameterization}").model
    loss = DiffusionLoss(model, "l2", "float32")
    batch = batch_of(model, crops)._replace(step=torch.tensor([5.0, 20.0, 35.0]))
    answer = loss.answer(lambda noisy, step, condition: noisy, lambda mel: mel, batch)
    perfect = answer._replace(output=answer.target)
    assert float(loss.spectral_losses(perfect, batch.step).max()) < 0.02
    output = answer.target.clone().requires_grad_()
    wrong = loss.spectral_losses(answer._replace(output=1.3 * output), batch.step)
    assert float(wrong.detach().min()) > 0
    wrong.sum().backward()
    assert output.grad is not None
    assert bool((output.grad.abs().sum(dim=1) > 0).all())


def test_the_stft_term_of_a_clean_estimate_at_half_its_level_is_known_in_closed_form(
    configure: Configure, crops: Tensor
) -> None:
    model = configure("model.diffusion.prior=standard", "model.network.parameterization=clean").model
    loss = DiffusionLoss(model, "l2", "float32")
    batch = batch_of(model, crops)._replace(step=torch.tensor([0.0, 25.0, 49.0]))
    answer = loss.answer(lambda noisy, step, condition: noisy, lambda mel: mel, batch)
    losses = loss.spectral_losses(answer._replace(output=0.5 * answer.target), batch.step)
    share = loss.schedule.alpha_bars[[0, 25, 49]].float()
    # Below the floor of the magnitudes nothing is halved, so a crop with quiet bins stays a little below.
    expected = share * (0.5 + math.log(2))
    assert bool((losses < expected * 1.001).all())
    assert bool((losses > expected * 0.8).all())


def test_training_minimises_weighted_losses_and_tells_plain_ones(configure: Configure, crops: Tensor) -> None:
    config = dataclasses.replace(BASE, network=NetworkConfig(8, 2))
    network, loss, batch = DiffWave(config), DiffusionLoss(config, "l2", "float32"), batch_of(config, crops)
    plain = loss(network, network.condition, batch)
    same, told = Objective(network, loss, network)(*batch)
    assert torch.equal(same, plain)
    weighted, told = Objective(network, loss, network, "min_snr")(*batch)
    weights = step_weights("min_snr", loss.process)[batch.step.long()]
    torch.testing.assert_close(weighted, plain * weights)
    assert torch.equal(told, plain)
    more, told = Objective(network, loss, network, "none", 0.5)(*batch)
    answer = loss.answer(network, network.condition, batch)
    torch.testing.assert_close(more, plain + 0.5 * loss.spectral_losses(answer, batch.step))
    assert torch.equal(told, plain)


@pytest.mark.parametrize(
    "levers",
    [
        ("train.noise_weighting=min_snr",),
        ("train.error_weighting=loudness", "train.noise_weighting=logit_normal"),
        ("train.noise_weighting=logit_normal", "train.stft_weight=0.3"),
        ("model.diffusion.prior=energy", "model.network.parameterization=clean", "train.loss=l1"),
    ],
    ids=["min-snr", "loudness", "logit-normal and stft", "energy, clean, l1"],
)
def test_a_run_with_levers_trains_and_its_checkpoint_speaks(configure: Configure, levers: tuple[str, ...]) -> None:
    config = configure(*levers, "model.sampling.steps=2")
    run = train(config)
    assert all(math.isfinite(value) for _, value in history(run, "validation_loss"))
    vocoder = Vocoder.from_pretrained(run, "cpu")
    wav = vocoder.synthesize(vocoder.mel(torch.randn(4000, generator=torch.Generator().manual_seed(0)) * 0.1))
    assert bool(torch.isfinite(wav).all())


def test_weights_and_terms_do_not_change_what_validation_says(configure: Configure) -> None:
    figures = []
    all_of_them = ("train.noise_weighting=min_snr", "train.stft_weight=0.3", "train.error_weighting=loudness")
    for levers in ((), all_of_them):
        config = configure(*levers, "train.iterations=1", "train.validate_every=1", run=f"run{len(levers)}")
        trainer = trainer_of(config)
        figures.append(trainer.validator.figures())  # of the same initial weights
    assert figures[0] == figures[1]


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
