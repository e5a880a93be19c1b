"""Settings of sampling: how a checkpoint speaks unless the caller says otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from diffwave.config.checks import one_of, require

# What each sampler adds of fresh noise (eta) and how it solves the rest (``diffwave.diffusion.sampler``).
SAMPLERS: dict[str, tuple[float, str]] = {
    "ddpm": (1.0, "euler"),
    "ddim": (0.0, "euler"),
    "renoise": (math.inf, "euler"),
    "dpm++": (0.0, "multistep"),
    "midpoint": (0.0, "midpoint"),
}
PLACES = ("end", "steps", "warm")


@dataclass(frozen=True)
class SamplingConfig:
    """How a checkpoint is sampled.

    Sampling is *guided* when mel consistency also works between the network's calls (``consistency_at``); it then has a
    sampler and schedules of its own, since what is best differs.

    Args:
        steps: number of network calls.
        sampler: ``ddpm`` (ancestral, eta = 1), ``ddim`` (deterministic, eta = 0), ``renoise`` (all noise fresh at every
            step), ``dpm++`` or ``midpoint`` (deterministic, of second order).
        fast_betas: for each number of steps (as text, for JSON) a noise schedule, which is aligned with the
            training schedule (DiffWave, appendix B).
        schedules: for each number of steps the (fractional) trained steps that are visited, rising; they come before
            ``fast_betas``. Without either, trained steps are taken at equal distances.
        clip: clip the waveform to ``[-1, 1]`` after every step, as lmnt-com/diffwave does.
        consistency_iterations: pushes of the finished waveform towards its mel; 0 turns all consistency off.
        consistency_at: where else: ``end`` nowhere, ``steps`` on the clean estimate of every call, ``warm`` there and
            before the first call, which then finds a consistent estimate with noise of its level instead of noise.
        step_iterations: pushes at each call but the last, if guided.
        warm_iterations: pushes before the first call, from noise of the prior.
        guided_sampler, guided_schedules: instead of the ones above, if guided.
        refinements: how often the refiner finds a finer mel for the result, and the result is pushed towards both mels,
            after ``consistency_iterations``; 0 turns it off, and so does turning off all consistency.
        refinement_iterations: pushes towards both mels each time.
        refinement_strength: share of a correction towards the finer mel, in ``(0, 1]``.
        block_frames: mel frames that are synthesized at once with consistency, which then goes on from the waveform
            before them (:mod:`diffwave.synthesis`).
        first_block_frames: of the first block, so that a stream begins soon; those that follow double up to
            ``block_frames``.
        context_frames: frames on each side of a block that it looks at, at least.
    """

    steps: int = 6
    sampler: str = "ddpm"
    fast_betas: dict[str, list[float]] = field(default_factory=dict)
    schedules: dict[str, list[float]] = field(default_factory=dict)
    clip: bool = False
    consistency_iterations: int = 0
    consistency_at: str = "end"
    step_iterations: int = 50
    warm_iterations: int = 200
    guided_sampler: str = "renoise"
    guided_schedules: dict[str, list[float]] = field(default_factory=dict)
    refinements: int = 0
    refinement_iterations: int = 16
    refinement_strength: float = 0.1
    block_frames: int = 256
    first_block_frames: int = 32
    context_frames: int = 12

    def __post_init__(self) -> None:
        one_of("sampling.sampler", self.sampler, SAMPLERS)
        one_of("sampling.guided_sampler", self.guided_sampler, SAMPLERS)
        one_of("sampling.consistency_at", self.consistency_at, PLACES)
        require(self.steps >= 1, f"sampling.steps must be at least 1; got {self.steps}")
        for name in (
            "consistency_iterations",
            "step_iterations",
            "warm_iterations",
            "refinements",
            "refinement_iterations",
            "context_frames",
        ):
            value = getattr(self, name)
            require(value >= 0, f"sampling.{name} cannot be negative; got {value}")
        require(
            0 < self.refinement_strength <= 1,
            f"sampling.refinement_strength must be in (0, 1]; got {self.refinement_strength}",
        )
        require(
            1 <= self.first_block_frames <= self.block_frames,
            "sampling: expected 1 <= first_block_frames <= block_frames; got "
            f"{self.first_block_frames} and {self.block_frames}",
        )
        for steps, betas in self.fast_betas.items():
            _check_count(f'sampling.fast_betas["{steps}"]', steps, betas)
            require(
                all(0 < beta < 1 for beta in betas),
                f'sampling.fast_betas["{steps}"] must lie inside (0, 1); got {betas}',
            )
        for name, visited in self.all_schedules():
            _check_count(name, name.split('"')[1], visited)
            rising = all(low < high for low, high in pairwise(visited))
            require(rising and visited[0] >= 0, f"{name} must rise from 0 or above; got {visited}")

    @property
    def guided(self) -> bool:
        """Whether consistency also works between the calls."""
        return self.consistency_iterations > 0 and self.consistency_at != "end"

    def all_schedules(self) -> Iterator[tuple[str, list[float]]]:
        """Every list of trained steps, with its name for messages."""
        for field_name in ("schedules", "guided_schedules"):
            for steps, visited in getattr(self, field_name).items():
                yield f'sampling.{field_name}["{steps}"]', visited


def _check_count(name: str, steps: str, values: list[float]) -> None:
    require(
        bool(values) and steps == str(len(values)),
        f"{name} must hold as many values as its name says; got {len(values)}",
    )
