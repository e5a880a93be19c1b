"""The forward process: how much of the signal and how much noise each diffusion step has.

Notation of DiffWave (Kong et al. 2021), section 2: ``beta_t`` is the variance added at step ``t``,
``alpha_t = 1 - beta_t`` and ``alpha_bar_t`` is the product of all ``alpha`` up to ``t``. Steps are counted
from 0 here, from 1 in the paper. Everything is kept in float64: ``1 - alpha_bar`` subtracts nearly equal
numbers at the first steps (in float32 the first one is wrong by 0.02 %).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from diffwave.config import DiffusionConfig


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """Variance schedule of a discrete Gaussian diffusion process.

    Args:
        betas: variance added at each step, float64, shape ``[T]``, every value inside ``(0, 1)``.

    Raises:
        ValueError: if a beta lies outside ``(0, 1)`` or there are none.

    >>> schedule = NoiseSchedule.linear(1e-4, 0.05, 50)
    >>> round(schedule.alpha_bars[-1].item(), 4)
    0.2797
    """

    betas: Tensor

    def __post_init__(self) -> None:
        betas = torch.as_tensor(self.betas, dtype=torch.float64)
        if betas.ndim != 1 or len(betas) == 0:
            raise ValueError(f"noise schedule: expected a list of betas; got shape {list(betas.shape)}")
        if not bool(((betas > 0) & (betas < 1)).all()):
            raise ValueError(
                "noise schedule: every beta must lie inside (0, 1); got "
                f"{[round(b, 6) for b in betas.tolist() if not 0 < b < 1]}"
            )
        object.__setattr__(self, "betas", betas)

    @classmethod
    def linear(cls, start: float, end: float, steps: int) -> NoiseSchedule:
        """Betas equally spaced from ``start`` to ``end`` (BASE: 1e-4..0.05, T = 50; LARGE: 1e-4..0.02, T = 200)."""
        return cls(torch.linspace(start, end, steps, dtype=torch.float64))

    @classmethod
    def cosine(cls, start: float, end: float, steps: int) -> NoiseSchedule:
        """``sqrt(alpha_bar) = cos(angle)`` with the angle equally spaced (Nichol & Dhariwal 2021, section 3.2).

        Args:
            start, end: first and last angle in quarter turns, inside ``(0, 1)``. Unlike with the paper's linear
                schedules the last step can hold practically no signal, so that sampling from pure noise begins
                where training ended.
            steps: ``T``.
        """
        angle = torch.linspace(start, end, steps, dtype=torch.float64) * (math.pi / 2)
        alpha_bars = angle.cos().square()
        previous = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bars[:-1]])
        return cls(1 - alpha_bars / previous)

    @classmethod
    def from_config(cls, config: DiffusionConfig) -> NoiseSchedule:
        """Build the training schedule that ``config`` describes."""
        if config.schedule == "linear":
            return cls.linear(config.beta_start, config.beta_end, config.steps)
        if config.schedule == "cosine":
            return cls.cosine(config.angle_start, config.angle_end, config.steps)
        return cls(torch.tensor(config.betas, dtype=torch.float64))

    def __len__(self) -> int:
        return len(self.betas)

    @cached_property
    def alpha_bars(self) -> Tensor:
        """Share of the signal's power left after each step, float64, ``[T]``."""
        return torch.cumprod(1 - self.betas, dim=0)

    def levels(self, step: Tensor) -> tuple[Tensor, Tensor]:
        """Amplitudes of signal and noise at (fractional) steps.

        Between two steps ``sqrt(alpha_bar)`` is interpolated linearly, as DiffWave's appendix B does when it
        aligns a fast schedule; at whole steps the values are exact.

        Args:
            step: diffusion steps in ``[0, T - 1]``, any shape.

        Returns:
            ``sqrt(alpha_bar)`` and ``sqrt(1 - alpha_bar)``, float64, the shape and device of ``step``.
        """
        roots = self.alpha_bars.sqrt().to(step.device)
        low = step.to(torch.float64).floor().long().clamp(0, len(self) - 1)
        high = (low + 1).clamp(max=len(self) - 1)
        signal = torch.lerp(roots[low], roots[high], step.to(torch.float64) - low)
        return signal, (1 - signal.square()).sqrt()

    def add_noise(self, wav: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Jump to step ``t`` in one go: ``sqrt(alpha_bar) * wav + sqrt(1 - alpha_bar) * noise``.

        Args:
            wav: clean waveform in ``[-1, 1]``, shape ``[B, N]``.
            noise: noise of the prior, shape ``[B, N]``.
            step: diffusion step of each example, shape ``[B]``.

        Returns:
            Noisy waveform, shape ``[B, N]``, in the dtype of ``wav`` (DiffWave, equation 4 with ``x_0``).
        """
        # float64 until the last moment: 1 - alpha_bar subtracts nearly equal numbers at the first steps.
        signal, sigma = (level.unsqueeze(-1).to(wav.dtype) for level in self.levels(step))  # [B, 1]
        return signal * wav + sigma * noise

    def align(self, other: NoiseSchedule) -> Tensor:
        """Fractional steps of this schedule at which ``other`` has the same noise level.

        DiffWave, appendix B: for each ``gamma_bar`` of the other schedule find ``t`` with
        ``sqrt(alpha_bar[t + 1]) <= sqrt(gamma_bar) <= sqrt(alpha_bar[t])`` and interpolate.

        Returns:
            Steps, float64, shape ``[len(other)]``, increasing.

        Raises:
            ValueError: if a level of ``other`` lies outside the trained range.

        >>> base = NoiseSchedule.linear(1e-4, 0.05, 50)
        >>> fast = NoiseSchedule(torch.tensor([1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5]))
        >>> [round(step, 4) for step in base.align(fast).tolist()]
        [0.0, 0.8941, 4.0867, 10.4518, 22.9925, 42.9186]
        """
        trained = self.alpha_bars.sqrt()
        wanted = other.alpha_bars.sqrt()
        # The first level of a fast schedule is often the trained one to the last bit but one.
        slack = 1e-9
        outside = (wanted > trained[0] + slack) | (wanted < trained[-1] - slack)
        if bool(outside.any()):
            raise ValueError(
                "noise schedule: expected signal levels sqrt(alpha_bar) within the trained range "
                f"[{trained[-1]:.4f}, {trained[0]:.6f}]; got {_rounded(wanted[outside].tolist())}"
            )
        wanted = wanted.clamp(trained[-1], trained[0])
        # trained falls, searchsorted wants a rising sequence: index of the last level that is >= wanted.
        low = (torch.searchsorted(-trained, -wanted, right=True) - 1).clamp(0, max(len(self) - 2, 0))
        if len(self) == 1:
            return torch.zeros(len(other), dtype=torch.float64)
        return low + (trained[low] - wanted) / (trained[low] - trained[low + 1])

    def subset(self, steps: Sequence[float]) -> NoiseSchedule:
        """The schedule that visits only these (fractional, rising) ``steps`` of this one, with its noise levels."""
        alpha_bars = self.levels(torch.tensor(list(steps), dtype=torch.float64))[0].square()
        previous = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bars[:-1]])
        return NoiseSchedule(1 - alpha_bars / previous)


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 6) for value in values]
