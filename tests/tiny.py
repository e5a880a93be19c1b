"""A model like the packaged one, small enough to run in milliseconds."""

from __future__ import annotations

from dataclasses import replace

import torch

from diffwave.checkpoint.folder import Checkpoint
from diffwave.config import DiffusionConfig, MelConfig, ModelConfig, NetworkConfig, SamplingConfig
from diffwave.network.diffwave import DiffWave
from diffwave.vocoder import Vocoder

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


def tiny_vocoder(mel: MelConfig) -> Vocoder:
    """A vocoder for mels of that convention, with random weights; squeezed as far as the hop lets it."""
    squeeze = 8 if mel.hop_length % 8 == 0 else 4
    config = replace(TINY, mel=mel, network=replace(TINY.network, squeeze=squeeze))
    network = DiffWave(config)
    random_weights(network)
    return Vocoder(Checkpoint(config, network.state_dict()), device="cpu", backend="reference")
