"""A model like the packaged one, small enough to run in milliseconds."""

from __future__ import annotations

import torch

from diffwave.config import DiffusionConfig, ModelConfig, NetworkConfig, SamplingConfig

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


def random_weights(network: torch.nn.Module, seed: int = 0) -> None:
    """Fill every parameter, also those that start at zero, so that nothing is hidden by a zero output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            fan_in = max(parameter[0].numel(), 1)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * fan_in**-0.5)
