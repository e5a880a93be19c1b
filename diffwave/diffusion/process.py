"""What the network is asked at one diffusion step, in training and in sampling.

One object owns the question and the answer, so the two cannot drift apart: ``network_input`` is what the
network sees, ``target`` what its raw output should be, ``to_noise`` what that output means. With the
``noise`` parameterization and the standard prior all three are DiffWave's own (equation 7). With
``velocity`` (Salimans & Ho 2022, appendix D) the raw output is ``v = signal * noise - sigma * clean``, and
``noise = sigma * noisy + signal * v`` holds exactly: the network need not carry the noise through its layers,
and its target has unit variance at every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from diffwave.diffusion.prior import Prior
from diffwave.diffusion.schedule import NoiseSchedule

# (input [B, N], step [B]) -> raw output [B, N]
RawNetwork = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class DiffusionProcess:
    """A noise schedule, a prior and the meaning of the network's output.

    Args:
        schedule: the training schedule.
        prior: shape of the noise.
        parameterization: ``noise`` or ``velocity``.
    """

    schedule: NoiseSchedule
    prior: Prior
    parameterization: str = "noise"

    def noisy(self, wav: Tensor, white: Tensor, step: Tensor) -> Tensor:
        """Forward process ``q(x_t | x_0)``: clean ``wav`` and white noise, ``[B, N]``, at ``step`` ``[B]``."""
        return self.schedule.add_noise(wav, self.prior.color(white), step)

    def network_input(self, noisy: Tensor) -> Tensor:
        """What the network sees of a noisy waveform ``[B, N]``: the whitened waveform."""
        return self.prior.whiten(noisy)

    def target(self, wav: Tensor, white: Tensor, step: Tensor) -> Tensor:
        """What the raw output should be, ``[B, N]``."""
        if self.parameterization == "noise":
            return white
        signal, sigma = self._levels(step, wav)
        return signal * white - sigma * self.prior.whiten(wav)

    def predict_noise(self, network: RawNetwork, noisy: Tensor, step: Tensor) -> Tensor:
        """Ask the network for the noise in ``noisy`` ``[B, N]`` at ``step`` ``[B]``."""
        raw = network(self.network_input(noisy), step)
        if self.parameterization == "noise":
            return self.prior.color(raw)
        signal, sigma = self._levels(step, noisy)
        return sigma * noisy + signal * self.prior.color(raw)

    def _levels(self, step: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        signal, sigma = self.schedule.levels(step)  # [B]
        return signal.unsqueeze(-1).to(like.dtype), sigma.unsqueeze(-1).to(like.dtype)
