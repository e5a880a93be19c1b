"""Training through the C kernel."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from diffwave.config import ConfigError
from diffwave.kernels.native import unavailable
from diffwave.training.record.states import states
from runs import Configure, same_training, train, trainer_of

_REASON = unavailable(torch.device("cpu"), 32)
needs_kernel = pytest.mark.skipif(_REASON is not None, reason=f"native kernel: {_REASON}")
NATIVE = ("model.network.residual_channels=32", "train.precision=bfloat16", "train.backend=native")


@needs_kernel
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(configure: Configure) -> None:
    straight = train(configure(*NATIVE, run="straight"))
    config = configure(*NATIVE, "train.iterations=4", run="stopped")
    train(config)
    train(dataclasses.replace(config, train=dataclasses.replace(config.train, iterations=6)))
    assert same_training(straight / "training-00000006.pt", Path(config.run_dir) / "training-00000006.pt")


@needs_kernel
def test_it_learns_what_the_reference_learns(configure: Configure) -> None:
    def gradient(backend: str) -> torch.Tensor:
        trainer = trainer_of(configure(*NATIVE[:2], f"train.backend={backend}", run=backend))
        network = trainer.learner.network
        torch.manual_seed(1)
        torch.nn.init.normal_(network.output_projection.weight, std=0.1)  # zero at first, and so would gradients be
        crops = next(iter(trainer._loader()))
        trainer.learner.step([crops], 0)
        return torch.cat([value.grad.flatten() for value in network.parameters() if value.grad is not None])

    ours, plain = gradient("native"), gradient("reference")
    assert torch.nn.functional.cosine_similarity(ours, plain, dim=0) > 0.9995
    assert float((ours - plain).norm() / plain.norm()) < 0.03
    assert not torch.equal(ours, plain)


@needs_kernel
def test_auto_takes_the_kernel_in_bfloat16_alone(configure: Configure) -> None:
    names = {
        precision: trainer_of(
            configure(NATIVE[0], f"train.precision={precision}", run=precision)
        ).learner.network.backend.name
        for precision in ("float32", "bfloat16")
    }
    assert names == {"float32": "reference", "bfloat16": "native"}


def test_a_kernel_that_was_named_and_cannot_run_is_an_error(configure: Configure) -> None:
    config = configure("train.precision=bfloat16", "train.backend=native")  # 8 channels
    with pytest.raises(ValueError, match="multiple of 32"):
        trainer_of(config)
    assert states(Path(config.run_dir)) == []


def test_a_kernel_is_not_compiled(configure: Configure) -> None:
    with pytest.raises(ConfigError, match="auto or reference; got native"):
        configure("train.backend=native", "train.compile=true")
