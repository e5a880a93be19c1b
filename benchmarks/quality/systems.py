"""The systems of the results pages: the checkpoint at several settings, what it is made of, and the floors."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from diffwave.config import CONVENTIONS, MelConfig, ModelConfig, SamplingConfig
from diffwave.config.sampling import SAMPLERS
from diffwave.mel.baseline import GRIFFIN_LIM, MEL_CONSISTENCY

DEFAULT, ALONE, AT_END = "default", "network alone", "consistent at the end"
UNREFINED = "without the refiner"
# As many iterations as the default works with altogether, so that what is left is the network's.
FLOOR = "as many from noise"
GRIFFIN_LIM_60, SHORT_FLOOR = "Griffin-Lim", "60 from noise"
FLOORS = (GRIFFIN_LIM_60, SHORT_FLOOR, FLOOR)
MOST_CALLS = 50
# Of speech from other corpora: fewer systems, since these recordings are few.
ELSEWHERE = (DEFAULT, ALONE, FLOOR, GRIFFIN_LIM_60)


@dataclass(frozen=True)
class System:
    """A system of the table.

    Args:
        name: in the report.
        label: in the table.
        command: of diffwave, without inputs and outputs.
    """

    name: str
    label: str
    command: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Name of the folder of its outputs."""
        return re.sub(r"\W+", "-", self.name)

    @property
    def line(self) -> str:
        """What to type, with inputs and outputs left out."""
        inputs = "REFERENCE" if self.command[0] == "synthesize" else "--reference REFERENCE"
        return f"diffwave {self.command[0]} {inputs} --output OUT {shlex.join(self.command[1:])}".rstrip()


def all_iterations(sampling: SamplingConfig, steps: int) -> int:
    """Iterations of mel consistency in a synthesis by default settings: before, between and after the calls.

    Those of the refiner count twice, for they push towards two mels.
    """
    warm = sampling.warm_iterations if sampling.guided and sampling.consistency_at == "warm" else 0
    between = (steps - 1) * sampling.step_iterations if sampling.guided else 0
    refined = 2 * sampling.refinements * sampling.refinement_iterations if sampling.consistency_iterations else 0
    return warm + between + sampling.consistency_iterations + refined


def preset_of(mel: MelConfig) -> str:
    """What ``diffwave baseline`` calls a convention; raises ValueError if it has no name."""
    names = [name for name, convention in CONVENTIONS.items() if convention.mel == mel]
    if not names:
        raise ValueError(f"expected a mel of one of {', '.join(CONVENTIONS)}, for the floors; got {mel.describe()}")
    return names[0]


def systems(config: ModelConfig, checkpoint: str, split: str = "val") -> list[System]:
    """The checkpoint's default, its parts, other numbers of steps, and the floors.

    Args:
        config: the checkpoint's.
        checkpoint: its name or folder, for the commands; of others than the default there are fewer rows.
        split: ``val`` compares ways to sample with as many network calls; ``test`` has the network alone at every
            number of steps.
    """

    def model(name: str, label: str, *settings: str) -> System:
        return System(name, label, ("synthesize", "--checkpoint", checkpoint, *settings))

    sampling = config.sampling
    own, last = sampling.steps, sampling.consistency_iterations
    others = [count for count in ((1, 3, 6, 12) if checkpoint == DEFAULT else (1,)) if count != own]
    more = [count for count in (*others, MOST_CALLS) if count != own]
    as_default = [model(calls(n), f"{calls(n)}, as the default", "--steps", str(n)) for n in more]
    at_end = model(AT_END, f"{own} steps, {last} iterations at the end alone", "--consistency-at", "end")
    alone = model(ALONE, f"{own} steps, network alone", "--consistency", "0")
    if split == "test":
        fewer = ("--consistency", "0", "--steps")
        parts = [
            at_end,
            alone,
            *(model(f"{calls(n)} alone", f"{calls(n)}, network alone", *fewer, str(n)) for n in others),
        ]
    else:
        label = f"{own} steps, consistent from pure noise on"
        parts = [model("consistent from noise on", label, "--consistency-at", "steps"), at_end, alone]
        parts += [
            model(f"{kind} alone", f"{own} steps, network alone, {kind}", "--consistency", "0", "--sampler", kind)
            for kind in SAMPLERS
            if kind != sampling.sampler
        ]
    default = model(DEFAULT, f"**default: {own} steps, mel-consistent sampling**")
    unrefined = model(UNREFINED, f"{own} steps, without the refiner", "--refinements", "0")
    refined = [default, unrefined] if sampling.refinements else [default]
    return [*refined, *as_default, *parts, *_floors(all_iterations(sampling, own), preset_of(config.mel))]


def _floors(total: int, mel: str) -> list[System]:
    """What needs no network; the last has as many iterations as the default."""
    convention = () if mel == "default" else ("--mel", mel)

    def floor(kind: str, iterations: int, name: str, label: str) -> System:
        command = ("baseline", "--system", kind, "--iterations", str(iterations), *convention)
        return System(name, f"no network: {label}", command)

    return [
        floor(GRIFFIN_LIM, 60, GRIFFIN_LIM_60, "Griffin-Lim, 60 iterations (librosa)"),
        floor(MEL_CONSISTENCY, 60, SHORT_FLOOR, "60 consistency iterations from noise"),
        floor(MEL_CONSISTENCY, total, FLOOR, f"{total} consistency iterations from noise, as many as in the default"),
    ]


def calls(count: int) -> str:
    """So many network calls, in words."""
    return "1 step" if count == 1 else f"{count} steps"
