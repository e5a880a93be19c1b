"""What the network's output means at a diffusion step, in training and in sampling.

One object owns the question and the answer, so the two cannot drift apart. With the ``noise``
parameterization the output is the noise itself (DiffWave, equation 7). With ``velocity`` (Salimans & Ho 2022,
appendix D) it is ``v = signal * noise - sigma * clean``, and ``noise = sigma * noisy + signal * v`` holds
exactly: the network need not carry the noise through its layers, and its target keeps unit variance at
every step. With ``clean`` (the same appendix, "x-prediction") it is the clean signal, whose estimate the sampler
needs anyway; at the last steps it says more than the noise does, at the first ones less.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffwave.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True, eq=False)
class DiffusionProcess:
    """A noise schedule and the meaning of the network's output.

    Args:
        schedule: the training schedule.
        parameterization: ``noise``, ``velocity`` or ``clean``.
    """

    schedule: NoiseSchedule
    parameterization: str = "noise"

    def target(self, clean: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """What the network should answer at ``step`` ``[B]`` for clean signal and noise ``[B, N]``."""
        if self.parameterization == "noise":
            return noise
        if self.parameterization == "clean":
            return clean
        signal, sigma = self._levels(step, clean)
        return signal * noise - sigma * clean

    def to_noise(self, output: Tensor, noisy: Tensor, step: Tensor) -> Tensor:
        """The predicted noise ``[B, N]`` that the network's ``output`` stands for."""
        if self.parameterization == "noise":
            return output
        signal, sigma = self._levels(step, noisy)
        if self.parameterization == "clean":
            return (noisy - signal * output) / sigma
        return sigma * noisy + signal * output

    def to_clean(self, output: Tensor, noisy: Tensor, step: Tensor) -> Tensor:
        """The estimate of the clean signal ``[B, N]`` that the network's ``output`` stands for."""
        if self.parameterization == "clean":
            return output
        signal, sigma = self._levels(step, noisy)
        if self.parameterization == "noise":
            return (noisy - sigma * output) / signal
        return signal * noisy - sigma * output

    def _levels(self, step: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        signal, sigma = self.schedule.levels(step)  # [B]
        return signal.unsqueeze(-1).to(like.dtype), sigma.unsqueeze(-1).to(like.dtype)
