from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from diffwave.config import TrainingConfig
from diffwave.training.crops import Crops
from diffwave.training.distributed import Processes
from diffwave.training.learner import Learner, moving_average
from runs import Configure, trainer_of
from tiny import random_weights


def test_the_learning_rate_rises_and_falls_linearly(configure: Configure, monkeypatch) -> None:
    trainer = trainer_of(configure(
        "train.iterations=8", "train.warmup=4", "train.decay_iterations=2", "train.learning_rate=0.1",
        "train.validate_every=100", "train.checkpoint_every=100",
    ))  # fmt: skip
    rates: list[float] = []
    monkeypatch.setattr(
        trainer.learner.optimizer, "step", lambda: rates.append(trainer.learner.optimizer.param_groups[0]["lr"])
    )
    trainer.run()
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1, 0.05])


def test_the_gradient_is_clipped_to_its_norm(configure: Configure, monkeypatch) -> None:
    trainer = trainer_of(configure("train.iterations=1", "train.gradient_clip=0.001"))
    norms: list[float] = []

    def step() -> None:
        gradients = [p.grad.flatten() for p in trainer.learner.network.parameters() if p.grad is not None]
        norms.append(float(torch.cat(gradients).norm()))

    monkeypatch.setattr(trainer.learner.optimizer, "step", step)
    trainer.run()
    assert norms == pytest.approx([0.001], rel=1e-3)


def test_the_average_follows_its_recursion() -> None:
    # After n updates the weight of the past is min(decay, (1 + n) / (10 + n)); the first update copies.
    line = torch.nn.Linear(1, 1, bias=False)
    average = AveragedModel(line, multi_avg_fn=moving_average(0.15))
    expected = 0.0
    for count, value in enumerate((5.0, 1.0, -3.0, 7.0)):
        torch.nn.init.constant_(line.weight, value)
        average.update_parameters(line)
        decay = 0.0 if count == 0 else min(0.15, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)


def test_a_run_that_goes_on_after_its_decay_is_warmed_up_again(configure: Configure, monkeypatch) -> None:
    settings = ["train.warmup=4", "train.decay_iterations=2", "train.learning_rate=0.1", "train.validate_every=100"]
    trainer_of(configure(*settings, "train.iterations=6", "train.checkpoint_every=6")).run()
    trainer = trainer_of(configure(*settings, "train.iterations=14", "train.checkpoint_every=100"))
    optimizer = trainer.learner.optimizer
    rates: list[float] = []
    monkeypatch.setattr(optimizer, "step", lambda: rates.append(optimizer.param_groups[0]["lr"]))
    trainer.run()
    # The last rate before was 0.05.
    assert rates == pytest.approx([0.075, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05])


def noise_of(config: TrainingConfig, number: int) -> Tensor:
    learner = Learner(config.model, config.train, Processes(torch.device("cpu")))
    crops = Crops(torch.tensor([number]), torch.zeros(1, 2 * learner.loss.context + 256))
    return learner.draw(crops).noise


def test_noise_is_a_function_of_seed_and_crop(configure: Configure) -> None:
    first = noise_of(configure(), 5)
    assert torch.equal(first, noise_of(configure(), 5))
    assert not torch.equal(first, noise_of(configure(), 6))
    assert not torch.equal(first, noise_of(configure("train.seed=1"), 5))


def test_validation_hears_the_average_with_noise_of_its_own_for_each_utterance(configure: Configure) -> None:
    config = configure()
    learner = Learner(config.model, config.train, Processes(torch.device("cpu")))
    random_weights(learner.average.module)
    wav, steps = torch.randn(2 * learner.loss.context + 512) * 0.1, torch.tensor([5.0, 40.0])
    before = learner.validation_losses(wav, 0, steps)
    random_weights(learner.network, seed=1)
    assert torch.equal(learner.validation_losses(wav, 0, steps), before)
    assert not torch.allclose(learner.validation_losses(wav, 1, steps), before)
