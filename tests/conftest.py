"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffwave.checkpoint import Checkpoint, save_checkpoint
from diffwave.config import DiffusionConfig, ModelConfig, NetworkConfig, SamplingConfig
from diffwave.network import DiffWave

torch.set_num_threads(1)

TINY = ModelConfig(
    network=NetworkConfig(
        residual_channels=8,
        residual_layers=3,
        dilation_cycle=3,
        squeeze=8,
        squeeze_overlap=4,
        condition_mean=-5.6,
        condition_std=2.1,
        parameterization="velocity",
    ),
    diffusion=DiffusionConfig(schedule="cosine", prior="spectral"),
    sampling=SamplingConfig(steps=2, sampler="ddim"),
)
"""A model like the packaged one, small enough to run in milliseconds."""


def random_weights(network: torch.nn.Module, seed: int = 0) -> None:
    """Fill every parameter, also those that start at zero, so that nothing is hidden by a zero output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            fan_in = max(parameter[0].numel(), 1)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * fan_in**-0.5)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny checkpoint with random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    network = DiffWave(TINY)
    random_weights(network)
    save_checkpoint(folder, Checkpoint(TINY, network.state_dict()))
    return folder
