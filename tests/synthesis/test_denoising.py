"""The denoiser's calls of the network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffwave.config.sampling import SAMPLERS
from diffwave.diffusion import DiffusionProcess, NoiseSchedule, Sampler
from diffwave.kernels.dispatch import choose
from diffwave.network.diffwave import Condition, DiffWave
from diffwave.synthesis.denoising import Denoiser
from tiny import TINY, random_weights


class Watched(DiffWave):
    """Remembers the step of every call and what the layers were to add."""

    def forward(self, noisy: Tensor, step: Tensor, condition: Condition, shifts: Tensor | None = None) -> Tensor:
        self.calls.append((step, shifts))
        return super().forward(noisy, step, condition, shifts)


@pytest.mark.parametrize("kind", SAMPLERS)
@torch.inference_mode()
def test_what_the_layers_add_belongs_to_the_step(kind: str) -> None:
    network = Watched(TINY).eval()
    network.calls = []
    random_weights(network)
    process = DiffusionProcess(NoiseSchedule.from_config(TINY.diffusion), TINY.network.parameterization)
    device = torch.device("cpu")
    choice = choose("reference", "float32", device, TINY.network.residual_channels)
    denoiser = Denoiser.on(device, network, process, choice)
    sampler = Sampler.spaced(process.schedule, 5, kind)
    denoiser(denoiser.condition(torch.zeros(2, TINY.mel.n_mels, 3)), sampler, seed=0)
    assert len(network.calls) == 5
    for step, shifts in network.calls:
        torch.testing.assert_close(shifts, network.shifts(step))
        assert len(shifts) == 2
