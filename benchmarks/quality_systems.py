"""The systems of the results page: the checkpoint at several settings, what it is made of, and the floors."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from diffwave.baseline import GRIFFIN_LIM, MEL_CONSISTENCY
from diffwave.config import SamplingConfig

DEFAULT, ALONE, AT_END = "default", "network alone", "consistent at the end"
# As many iterations as the default works with altogether, so that what is left is the network's.
FLOOR = "as many from noise"


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
    """Iterations of mel consistency in a synthesis by default settings, before, between and after the calls."""
    warm = sampling.warm_iterations if sampling.guided and sampling.consistency_at == "warm" else 0
    between = (steps - 1) * sampling.step_iterations if sampling.guided else 0
    return warm + between + sampling.consistency_iterations


def systems(sampling: SamplingConfig, checkpoint: str) -> list[System]:
    """The checkpoint's default, its parts, other numbers of steps, and the floors.

    Args:
        sampling: the checkpoint's settings.
        checkpoint: its name or folder, for the commands.
    """

    def model(name: str, label: str, *settings: str) -> System:
        return System(name, label, ("synthesize", "--checkpoint", checkpoint, *settings))

    def floor(kind: str, iterations: int, name: str, label: str) -> System:
        command = ("baseline", "--system", kind, "--iterations", str(iterations))
        return System(name, f"no network: {label}", command)

    own, last = sampling.steps, sampling.consistency_iterations
    total = all_iterations(sampling, own)
    return [
        model(DEFAULT, f"**default: {own} steps, mel-consistent sampling**"),
        *(model(_calls(n), f"{_calls(n)}, as the default", "--steps", str(n)) for n in (1, 3, 12, 50)),
        model("consistent from noise on", f"{own} steps, consistent from pure noise on", "--consistency-at", "steps"),
        model(AT_END, f"{own} steps, {last} iterations at the end alone", "--consistency-at", "end"),
        model(ALONE, f"{own} steps, network alone", "--consistency", "0"),
        floor(GRIFFIN_LIM, 60, "Griffin-Lim", "Griffin-Lim, 60 iterations (librosa)"),
        floor(MEL_CONSISTENCY, 60, "60 from noise", "60 consistency iterations from noise"),
        floor(MEL_CONSISTENCY, total, FLOOR, f"{total} consistency iterations from noise, as many as in the default"),
    ]


def _calls(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


# Pitch takes seconds for each output; of these it is measured.
PITCHED = (DEFAULT, FLOOR)
