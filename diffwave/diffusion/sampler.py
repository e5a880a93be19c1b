"""The reverse process: from noise to a waveform, by one loop for DDPM and DDIM.

Each step estimates the clean waveform from the predicted noise and moves to the previous noise level
(Song et al. 2021, equation 12). ``eta = 1`` is the ancestral sampler of DDPM and DiffWave (algorithm 2),
``eta = 0`` is deterministic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffwave.diffusion.schedule import NoiseSchedule

# (noisy [B, N], step [B]) -> predicted noise [B, N]
PredictNoise = Callable[[Tensor, Tensor], Tensor]
# (index, noisy [B, N], clean estimate [B, N]); index counts down to 0
Callback = Callable[[int, Tensor, Tensor], None]
# (index) -> white noise [B, N]
DrawNoise = Callable[[int], Tensor]


@dataclass(frozen=True, eq=False)
class Sampler:
    """A schedule to walk back along, and the steps of the training schedule it corresponds to.

    Args:
        schedule: the schedule that is walked, ``S`` steps.
        steps: (fractional) training step of each of them, shape ``[S]``.
        eta: amount of fresh noise, 1 for DDPM, 0 for DDIM.
        clip: clip the waveform to ``[-1, 1]`` after every step, as lmnt-com/diffwave does.

    Raises:
        ValueError: if the two lengths differ or ``eta`` lies outside ``[0, 1]``.
    """

    schedule: NoiseSchedule
    steps: Tensor
    eta: float = 1.0
    clip: bool = False

    def __post_init__(self) -> None:
        if len(self.schedule) != len(self.steps):
            raise ValueError(f"sampler: expected {len(self.schedule)} steps, one for each beta; got {len(self.steps)}")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"sampler: eta must be in [0, 1]; got {self.eta}")

    @classmethod
    def full(cls, trained: NoiseSchedule, eta: float = 1.0, clip: bool = False) -> Sampler:
        """Every step of the training schedule."""
        return cls(trained, torch.arange(len(trained), dtype=torch.float64), eta, clip)

    @classmethod
    def fast(cls, trained: NoiseSchedule, betas: list[float], eta: float = 1.0, clip: bool = False) -> Sampler:
        """A user's schedule, aligned with the trained one (DiffWave, appendix B).

        Raises:
            ValueError: if a noise level lies outside the trained range.
        """
        schedule = NoiseSchedule(torch.tensor(betas, dtype=torch.float64))
        return cls(schedule, trained.align(schedule), eta, clip)

    @classmethod
    def spaced(cls, trained: NoiseSchedule, count: int, eta: float = 1.0, clip: bool = False) -> Sampler:
        """``count`` whole steps of the trained schedule, equally spaced from the first to the last.

        Raises:
            ValueError: if ``count`` is larger than the number of trained steps.
        """
        if not 1 <= count <= len(trained):
            raise ValueError(f"sampler: expected 1 to {len(trained)} steps; got {count}")
        # One step alone must be the last: it starts from pure noise.
        last = len(trained) - 1
        positions = [last] if count == 1 else [round(i * last / (count - 1)) for i in range(count)]
        steps = torch.tensor(positions, dtype=torch.float64)
        return cls(trained.subset(positions), steps, eta, clip)

    def __len__(self) -> int:
        return len(self.schedule)

    def sample(
        self,
        predict_noise: PredictNoise,
        noise: DrawNoise,
        callback: Callback | None = None,
    ) -> Tensor:
        """Walk from noise to a waveform.

        Args:
            predict_noise: the network's answer, ``(noisy [B, N], training step [B]) -> noise [B, N]``.
            noise: white noise ``[B, N]`` for index ``S`` (the start) and, where fresh noise is added, for the
                index just left; a function, so that the caller decides what an output depends on.
            callback: called after every step with the index, the new waveform and the clean estimate.

        Returns:
            The waveform, shape ``[B, N]``.
        """
        wav = noise(len(self))
        for index in range(len(self) - 1, -1, -1):
            # Made on the device: a copy from here would wait for it, and a CUDA graph cannot hold one.
            step = torch.full(wav.shape[:1], float(self.steps[index]), dtype=torch.float64, device=wav.device)
            predicted = predict_noise(wav, step)
            wav, clean = self._move(index, wav, predicted, noise)
            if callback is not None:
                callback(index, wav, clean)
        return wav

    def _move(self, index: int, wav: Tensor, predicted: Tensor, noise: DrawNoise) -> tuple[Tensor, Tensor]:
        """One step back from ``index``: the waveform there, and the estimate of the clean one."""
        signal, sigma = self._level(index)
        clean = (wav - sigma * predicted) / signal
        if self.clip:
            # lmnt-com/diffwave clips the state, not the estimate; the estimate is only shown to the callback.
            clean = clean.clamp(-1, 1) if index == 0 else clean
        if index == 0:
            return clean, clean
        previous_signal, previous_sigma = self._level(index - 1)
        fresh = self.eta * self._posterior_deviation(index)
        direction = max(previous_sigma**2 - fresh**2, 0.0) ** 0.5
        moved = previous_signal / signal * wav + (direction - previous_signal * sigma / signal) * predicted
        if fresh > 0:
            moved = moved + fresh * noise(index)
        return (moved.clamp(-1, 1) if self.clip else moved), clean

    def _level(self, index: int) -> tuple[float, float]:
        alpha_bar = float(self.schedule.alpha_bars[index])
        return alpha_bar**0.5, (1 - alpha_bar) ** 0.5

    def _posterior_deviation(self, index: int) -> float:
        """``sqrt(beta_tilde)`` of DiffWave, equation 5."""
        alpha_bars, betas = self.schedule.alpha_bars, self.schedule.betas
        ratio = (1 - alpha_bars[index - 1]) / (1 - alpha_bars[index])
        return float((ratio * betas[index]).sqrt())
