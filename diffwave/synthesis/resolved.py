"""What a caller's options come to with a checkpoint: every choice made, once, and written down the same everywhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch

from diffwave.config import SamplingConfig, SynthesisOptions
from diffwave.diffusion import NoiseSchedule, Sampler


@dataclass(frozen=True, eq=False)
class ResolvedSynthesis:
    """How mels are synthesized, with nothing left open.

    Args:
        sampling: the checkpoint's settings with what was asked for.
        kind: of the sampler.
        sampler: the way back from noise.
        seed: of the noise.
    """

    sampling: SamplingConfig
    kind: str
    sampler: Sampler
    seed: int

    def record(self) -> dict[str, Any]:
        """The choices by the names of :class:`SynthesisOptions`, ready for JSON, and the trained steps visited."""
        consistency = self.sampling.consistency_iterations
        return {
            "sampler": self.kind,
            "steps": len(self.sampler),
            "schedule": self.sampler.steps.tolist(),
            "consistency": consistency,
            "consistency_at": self.sampling.consistency_at if consistency else "end",
            "refinements": self.sampling.refinements if consistency else 0,
            "seed": self.seed,
        }


def resolve(
    options: SynthesisOptions, own: SamplingConfig, schedule: NoiseSchedule, has_refiner: bool
) -> ResolvedSynthesis:
    """Fill in what was left to the checkpoint.

    Args:
        options: what is asked for.
        own: the checkpoint's settings.
        schedule: the network was trained with.
        has_refiner: whether the checkpoint has one.

    Raises:
        ValueError: for an impossible number of steps, an unknown sampler or place, or refinements that cannot be.
    """
    if options.refinements and not has_refiner:
        raise ValueError(f"refinements: expected 0, for this model has no refiner; got {options.refinements}")
    sampling = options.applied_to(own)
    kind = options.sampler or (sampling.guided_sampler if sampling.guided else sampling.sampler)
    steps = sampling.steps if options.steps is None else options.steps
    return ResolvedSynthesis(sampling, kind, _sampler(sampling, schedule, steps, kind), options.seed)


def _sampler(settings: SamplingConfig, schedule: NoiseSchedule, steps: int | str, kind: str) -> Sampler:
    """The way of ``steps`` calls: a schedule that was found for them, else one between what is known."""
    count = len(schedule) if steps == "full" else int(steps)
    known = settings.guided_schedules if settings.guided else settings.schedules
    if str(steps) in known:
        return Sampler.through(schedule, known[str(steps)], kind, settings.clip)
    if settings.guided and known and 1 <= count <= len(schedule):
        return Sampler.through(schedule, _between_ends(known, count), kind, settings.clip)
    if steps == "full":
        return Sampler.full(schedule, kind, settings.clip)
    betas = settings.fast_betas.get(str(steps))
    if betas:
        return Sampler.fast(schedule, betas, kind, settings.clip)
    return Sampler.spaced(schedule, count, kind, settings.clip)


def _between_ends(known: dict[str, list[float]], count: int) -> list[float]:
    """Equal distances between the ends of the longest known schedule: noise above and below was found of no use."""
    longest = max(known.values(), key=len)
    if count == 1:
        return [longest[-1]]
    return torch.linspace(longest[0], longest[-1], count, dtype=torch.float64).tolist()


class HasOptions(Protocol):
    """Somebody who speaks in a certain way unless told otherwise."""

    @property
    def options(self) -> SynthesisOptions:
        """That way."""


Self_ = TypeVar("Self_", bound=HasOptions)
Mel = TypeVar("Mel")
Result = TypeVar("Result")
Options = TypeVar("Options", bound=SynthesisOptions)
Choices = ParamSpec("Choices")


def choosing(
    options: Callable[Choices, Options],
) -> Callable[[Callable[[Self_, Mel, Options], Result]], Callable[Concatenate[Self_, Mel, Choices], Result]]:
    """Let a method that takes a mel and a value of options be called with the options' fields instead.

    ``method(mel, steps=6)`` gets ``options`` with ``steps=6`` and the rest as ``self.options`` says. So the signature,
    the defaults and the documentation of the choices stand in the dataclass alone.

    Args:
        options: the dataclass.
    """
    choices = inspect.signature(options).parameters.values()

    def decorate(method: Callable[[Self_, Mel, Options], Result]) -> Callable[Concatenate[Self_, Mel, Choices], Result]:
        speaker, mel = list(inspect.signature(method).parameters.values())[:2]
        signature = inspect.Signature([speaker, mel, *choices])

        @wraps(method)
        def chosen(*args: Any, **kwargs: Any) -> Any:
            given = dict(signature.bind(*args, **kwargs).arguments)
            who, what = given.pop(speaker.name), given.pop(mel.name)
            own = {each.name: getattr(who.options, each.name) for each in fields(who.options)}
            return method(who, what, options(**{**own, **given}))  # type: ignore[call-arg]  # named as in its signature

        chosen.__signature__ = signature  # type: ignore[attr-defined]
        return chosen

    return decorate
