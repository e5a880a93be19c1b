"""The reverse process: from noise to a waveform, by one loop for all samplers.

Each step estimates the clean waveform from the predicted noise and moves to the previous noise level
(Song et al. 2021, equation 12). How much of the noise is fresh is ``eta``: 1 is the ancestral sampler of DDPM and
DiffWave (algorithm 2), 0 is DDIM, and infinity forgets the predicted noise altogether: all of it is fresh (multistep
consistency sampling: Song et al. 2023, algorithm 1). The estimate may be corrected on the way by what is known of
the clean signal from elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from diffwave.config.sampling import SAMPLERS
from diffwave.diffusion.schedule import NoiseSchedule

# (index, noisy [B, N], training step [B]) -> predicted noise [B, N]
PredictNoise = Callable[[int, Tensor, Tensor], Tensor]
# (index, noisy [B, N], clean estimate [B, N]); index counts down to 0
Callback = Callable[[int, Tensor, Tensor], None]
# (index) -> white noise [B, N]
DrawNoise = Callable[[int], Tensor]
# (index, clean estimate [B, N]) -> a better one
Correct = Callable[[int, Tensor], Tensor]

SOLVERS = ("euler", "multistep", "midpoint")


@dataclass(frozen=True, eq=False)
class Sampler:
    """A schedule to walk back along, and the steps of the training schedule it corresponds to.

    Args:
        schedule: the schedule that is walked, ``S`` steps.
        steps: (fractional) training step of each of them, shape ``[S]``.
        eta: amount of fresh noise as a multiple of DDPM's: 0 for DDIM, infinity for nothing but fresh noise.
        clip: clip the waveform to ``[-1, 1]`` after every step, as lmnt-com/diffwave does.
        solver: of the deterministic part: ``euler`` (DDIM), ``multistep`` (DPM-Solver++(2M), Lu et al. 2022b, algorithm
            2: extrapolates from the estimate before), or ``midpoint`` (DPM-Solver-2, Lu et al. 2022a, with predicted
            data: every second call only finds the estimate in the middle of a longer step).

    Raises:
        ValueError: if the two lengths differ, ``eta`` is negative, the solver is unknown, or a solver of second order
            is to add noise.
    """

    schedule: NoiseSchedule
    steps: Tensor
    eta: float = 1.0
    clip: bool = False
    solver: str = "euler"

    def __post_init__(self) -> None:
        if len(self.schedule) != len(self.steps):
            raise ValueError(f"sampler: expected {len(self.schedule)} steps, one for each beta; got {len(self.steps)}")
        if not self.eta >= 0:
            raise ValueError(f"sampler: eta cannot be negative; got {self.eta}")
        if self.solver not in SOLVERS:
            raise ValueError(f"sampler: expected a solver among {', '.join(SOLVERS)}; got {self.solver!r}")
        if self.solver != "euler" and self.eta:
            raise ValueError(f"sampler: {self.solver} adds no noise, so it expects eta=0; got {self.eta}")

    @classmethod
    def full(cls, trained: NoiseSchedule, kind: str = "ddpm", clip: bool = False) -> Sampler:
        """Every step of the training schedule.

        Args:
            trained: the training schedule.
            kind: a name of ``SAMPLERS`` in the configuration.
            clip: see :class:`Sampler`.
        """
        eta, solver = _meaning(kind)
        return cls(trained, torch.arange(len(trained), dtype=torch.float64), eta, clip, solver)

    @classmethod
    def fast(cls, trained: NoiseSchedule, betas: Sequence[float], kind: str = "ddpm", clip: bool = False) -> Sampler:
        """A user's schedule, aligned with the trained one (DiffWave, appendix B).

        Raises:
            ValueError: if a noise level lies outside the trained range.
        """
        eta, solver = _meaning(kind)
        schedule = NoiseSchedule(torch.tensor(list(betas), dtype=torch.float64))
        return cls(schedule, trained.align(schedule), eta, clip, solver)

    @classmethod
    def through(cls, trained: NoiseSchedule, steps: Sequence[float], kind: str = "ddpm", clip: bool = False) -> Sampler:
        """Through these (fractional) steps of the trained schedule.

        Args:
            trained: the training schedule.
            steps: rising, in ``[0, T - 1]``.
            kind, clip: see :meth:`full`.

        Raises:
            ValueError: if the steps do not rise, or lie outside the trained range.
        """
        eta, solver = _meaning(kind)
        rising = all(low < high for low, high in pairwise(steps))
        last = len(trained) - 1
        if not steps or not rising or steps[0] < 0 or steps[-1] > last:
            raise ValueError(f"sampler: expected rising steps in [0, {last}]; got {list(steps)}")
        return cls(trained.subset(steps), torch.tensor(list(steps), dtype=torch.float64), eta, clip, solver)

    @classmethod
    def spaced(cls, trained: NoiseSchedule, count: int, kind: str = "ddpm", clip: bool = False) -> Sampler:
        """``count`` whole steps of the trained schedule, equally spaced from the first to the last.

        Raises:
            ValueError: if ``count`` is larger than the number of trained steps.
        """
        if not 1 <= count <= len(trained):
            raise ValueError(f"sampler: expected 1 to {len(trained)} steps; got {count}")
        # One step alone must be the last: it starts from pure noise.
        last = len(trained) - 1
        positions = [last] if count == 1 else [round(i * last / (count - 1)) for i in range(count)]
        return cls.through(trained, positions, kind, clip)

    def __len__(self) -> int:
        return len(self.schedule)

    def begin(self, clean: Tensor, noise: Tensor) -> Tensor:
        """A state to start from instead of noise: an estimate of the clean waveform with noise of the first level.

        Args:
            clean, noise: shape ``[B, N]``.
        """
        signal, sigma = self._level(len(self) - 1)
        return signal * clean + sigma * noise

    def sample(
        self,
        predict_noise: PredictNoise,
        noise: DrawNoise,
        callback: Callback | None = None,
        correct: Correct | None = None,
        start: Tensor | None = None,
    ) -> Tensor:
        """Walk from noise to a waveform.

        Args:
            predict_noise: the network's answer at a step, by its index and its step of the training schedule, ``(index,
                noisy [B, N], training step [B]) -> noise [B, N]``.
            noise: white noise ``[B, N]`` for index ``S`` (the start) and, where fresh noise is added, for the
                index just left; a function, so that the caller decides what an output depends on.
            callback: called after every step with the index, the new waveform and the clean estimate.
            correct: makes the clean estimate of every step a better one; the last one is the output.
            start: from :meth:`begin`, instead of noise.

        Returns:
            The waveform, shape ``[B, N]``.
        """
        state, anchor, before = (noise(len(self)) if start is None else start), None, None
        for index in range(len(self) - 1, -1, -1):
            # Made on the device: a copy from here would wait for it, and a CUDA graph cannot hold one.
            step = torch.full(state.shape[:1], float(self.steps[index]), dtype=torch.float64, device=state.device)
            predicted = predict_noise(index, state, step)
            clean = self._estimate(index, state, predicted)
            better = clean if correct is None else correct(index, clean)
            if index == 0:
                moved = better
            elif self.solver == "midpoint" and anchor is not None:
                moved = self._towards(index - 1, anchor, better)
            else:
                moved = self._move(index, state, predicted, noise)
                if correct is not None:
                    moved = moved + self._level(index - 1)[0] * (better - clean)
                if self.solver == "multistep" and before is not None:
                    moved = moved + self._extrapolation(index) * (better - before)
            # The pairs of the midpoint solver end at index 0; an odd number begins with a step alone.
            anchor = (index, state) if index % 2 else None
            state, before = (moved.clamp(-1, 1) if self.clip else moved), better
            if callback is not None:
                callback(index, state, better)
        return state

    def _estimate(self, index: int, state: Tensor, predicted: Tensor) -> Tensor:
        """The clean waveform that state and predicted noise stand for."""
        signal, sigma = self._level(index)
        clean = (state - sigma * predicted) / signal
        # lmnt-com/diffwave clips the state, not the estimate; the estimate is only shown to the callback.
        return clean.clamp(-1, 1) if self.clip and index == 0 else clean

    def _move(self, index: int, state: Tensor, predicted: Tensor, noise: DrawNoise) -> Tensor:
        """One step back from ``index`` along the predicted noise, and some that is fresh."""
        signal, sigma = self._level(index)
        previous_signal, previous_sigma = self._level(index - 1)
        fresh: float = min(self.eta * self._posterior_deviation(index), previous_sigma) if self.eta else 0.0
        direction: float = max(previous_sigma**2 - fresh**2, 0.0) ** 0.5
        moved = previous_signal / signal * state + (direction - previous_signal * sigma / signal) * predicted
        return moved + fresh * noise(index) if fresh > 0 else moved

    def _towards(self, index: int, anchor: tuple[int, Tensor], clean: Tensor) -> Tensor:
        """From an earlier state to ``index``, with a given clean waveform (exact if that is the right one)."""
        signal, sigma = self._level(anchor[0])
        new_signal, new_sigma = self._level(index)
        ratio = new_sigma / sigma
        return ratio * anchor[1] + (new_signal - ratio * signal) * clean

    def _extrapolation(self, index: int) -> float:
        """Weight of the change between two estimates: ``alpha (1 - exp(-h)) / 2r`` of DPM-Solver++(2M)."""
        later, here, next_ = (self._log_ratio(i) for i in (index + 1, index, index - 1))
        ahead, behind = next_ - here, here - later
        return self._level(index - 1)[0] * -math.expm1(-ahead) * ahead / (2 * behind)

    def _log_ratio(self, index: int) -> float:
        """``lambda``, the logarithm of signal over noise."""
        signal, sigma = self._level(index)
        return math.log(signal / sigma)

    def _level(self, index: int) -> tuple[float, float]:
        """Amplitudes of signal and noise."""
        alpha_bar = float(self.schedule.alpha_bars[index])
        return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)

    def _posterior_deviation(self, index: int) -> float:
        """``sqrt(beta_tilde)`` of DiffWave, equation 5."""
        alpha_bars, betas = self.schedule.alpha_bars, self.schedule.betas
        ratio = (1 - alpha_bars[index - 1]) / (1 - alpha_bars[index])
        return float((ratio * betas[index]).sqrt())


def _meaning(kind: str) -> tuple[float, str]:
    if kind not in SAMPLERS:
        raise ValueError(f"sampler: expected one of {', '.join(SAMPLERS)}; got {kind!r}")
    return SAMPLERS[kind]
