"""What a caller may choose of a synthesis: the only home of these choices, their defaults and their texts.

The signature of ``Vocoder.synthesize``, the options of the command line and the parameters of the service are made from
the dataclass below; :mod:`diffwave.synthesis.resolved` says what becomes of it with a checkpoint.
"""

from __future__ import annotations

import numbers
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from diffwave.config.sampling import PLACES, SAMPLERS, SamplingConfig

_OWN = "(default: the checkpoint's)"
_STEPS = {"help": f"network calls {_OWN}", "metavar": "N|full"}
_SAMPLER = {"help": "default: the checkpoint's", "choices": SAMPLERS}
_CONSISTENCY = {
    "help": f"mel-consistency iterations on the result, 0 for the network alone {_OWN}",
    "metavar": "N",
}
_PLACE = {
    "help": f"where else mel consistency works: nowhere, after every network call, or also before the first {_OWN}",
    "choices": PLACES,
}
_REFINEMENTS = {"help": f"rounds of the refiner after that, 0 for none {_OWN}", "metavar": "N"}


@dataclass(frozen=True)
class SynthesisOptions:
    """How a mel is to be synthesized; what is None is the checkpoint's own.

    Args:
        steps: number of network calls, ``"full"`` for as many as there are trained steps.
        sampler: ``ddpm``, ``ddim``, ``renoise``, ``dpm++`` or ``midpoint``.
        seed: of the noise, which is a function of seed and position only: the same for every example.
        consistency: iterations of :class:`~diffwave.mel.consistency.MelConsistency` on the result; 0 is the network
            alone, from pure noise. A checkpoint may have other schedules with them than for the network alone.
        consistency_at: where else consistency works, ``end`` (nowhere), ``steps`` or ``warm``
            (:mod:`diffwave.synthesis.guidance`).
        refinements: rounds of the refiner after consistency (:mod:`diffwave.network.refiner`); 0 leaves it out.

    Raises:
        ValueError: if a number is none.
    """

    steps: int | str | None = field(default=None, metadata=_STEPS)
    sampler: str | None = field(default=None, metadata=_SAMPLER)
    seed: int = field(default=0, metadata={"help": "of the noise (default: 0)"})
    consistency: int | None = field(default=None, metadata=_CONSISTENCY)
    consistency_at: str | None = field(default=None, metadata=_PLACE)
    refinements: int | None = field(default=None, metadata=_REFINEMENTS)

    def __post_init__(self) -> None:
        # Integers of numpy count as numbers, but would not be JSON later.
        object.__setattr__(self, "steps", _steps(self.steps))
        for name in ("consistency", "refinements"):
            object.__setattr__(self, name, _count(name, getattr(self, name)))

    def applied_to(self, own: SamplingConfig) -> SamplingConfig:
        """A checkpoint's settings with what is asked for.

        Schedules that were found for another place of consistency are dropped.

        Raises:
            ValueError: if there is no such place, or refinements are asked for without consistency.
        """
        iterations = own.consistency_iterations if self.consistency is None else self.consistency
        if self.refinements and not iterations:
            raise ValueError(
                "refinements: expected 0 without mel consistency, after which they come; got "
                f"{self.refinements} with consistency 0"
            )
        return replace(
            own,
            consistency_iterations=iterations,
            refinements=own.refinements if self.refinements is None else self.refinements,
            consistency_at=self.consistency_at or own.consistency_at,
            guided_schedules=own.guided_schedules if self.consistency_at in (None, own.consistency_at) else {},
        )

    def as_defaults(self, own: SamplingConfig) -> SamplingConfig:
        """A checkpoint's settings with what is asked for as what it does from now on; all schedules stay."""
        named = {**asdict(self), "consistency_iterations": self.consistency}
        kept = {each.name for each in fields(SamplingConfig)}
        changes: dict[str, Any] = {name: value for name, value in named.items() if name in kept and value is not None}
        return replace(own, **changes)


def _steps(value: int | str | None) -> int | str | None:
    if value is None or value == "full":
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ValueError(f"steps: expected a number or 'full'; got {value!r}")
    return int(value)


def _count(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise ValueError(f"{name}: expected 0 or a positive whole number; got {value!r}")
    return int(value)


AS_TRAINED = SynthesisOptions()
"""Everything as the checkpoint says."""
