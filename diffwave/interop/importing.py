"""Checkpoints of other projects become checkpoints of this one.

What a file says of its model is read, what its weights tell is inferred, and what neither does is assumed to be the
other project's default; the assumptions are told. Sampling stays the other project's: its fast schedule, its clipping
after every step, the network alone. So the same noise gives the same waveform.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from diffwave.checkpoint.folder import Checkpoint, CheckpointError
from diffwave.config import ConfigError, ModelConfig, mel_preset
from diffwave.config.document import from_dict, to_dict
from diffwave.diffusion import NoiseSchedule
from diffwave.interop import lmnt_checkpoint, speechbrain_checkpoint
from diffwave.interop.foreign import Foreign
from diffwave.interop.shapes import check_weights

_READERS: dict[str, Callable[[Path], Foreign]] = {
    "lmnt": lmnt_checkpoint.read,
    "speechbrain": speechbrain_checkpoint.read,
}


@dataclass(frozen=True, eq=False)
class Imported:
    """A checkpoint of this project, and what was assumed to make it.

    Args:
        checkpoint: ready to be saved.
        notes: for people, each in one line.
    """

    checkpoint: Checkpoint
    notes: list[str] = field(default_factory=list)


def import_checkpoint(
    path: Path, source: str, mel: str | None = None, settings: Sequence[tuple[str, str]] = ()
) -> Imported:
    """Read a checkpoint of another project.

    Args:
        path: its file, or the folder that it lies in.
        source: ``lmnt`` (lmnt-com/diffwave) or ``speechbrain``.
        mel: name of the mel convention, if it is not the one that is found.
        settings: names and values of the configuration that replace what is found, such as
            ``("diffusion.beta_end", "0.02")``.

    Raises:
        CheckpointError: if the file cannot be used; the message names it and says what was expected.
        ConfigError: for settings that do not exist or do not go together.
    """
    if source not in _READERS:
        raise CheckpointError(f"source: expected one of {', '.join(_READERS)}; got {source!r}")
    foreign = _READERS[source](path)
    config = foreign.config if mel is None else replace(foreign.config, mel=mel_preset(mel))
    config, dropped = _with_usable_schedules(_changed(config, settings))
    check_weights(foreign.weights, config, foreign.path)
    story = {"imported_from": foreign.project, "sha256": _sha256(foreign.path), **foreign.story}
    weights = {name: value.detach().float().contiguous() for name, value in foreign.weights.items()}
    return Imported(Checkpoint(config, weights, story), [*foreign.notes, *dropped])


def _changed(config: ModelConfig, settings: Sequence[tuple[str, str]]) -> ModelConfig:
    """The configuration with settings of dotted names and JSON values (or plain texts)."""
    if not settings:
        return config
    document = to_dict(config)
    for name, text in settings:
        *groups, last = name.split(".")
        place: Any = document
        for group in groups:
            place = place.get(group) if isinstance(place, dict) else None
        if not isinstance(place, dict) or not groups:
            raise ConfigError(f"unknown setting {name}; expected one of config.json, such as mel.f_max")
        try:
            place[last] = json.loads(text)
        except ValueError:
            place[last] = text
    return from_dict(ModelConfig, document)


def _with_usable_schedules(config: ModelConfig) -> tuple[ModelConfig, list[str]]:
    """Leave out fast schedules that go beyond the trained noise levels, with which the original fails too."""
    schedule = NoiseSchedule.from_config(config.diffusion)
    kept: dict[str, list[float]] = {}
    notes: list[str] = []
    for count, betas in config.sampling.fast_betas.items():
        try:
            schedule.align(NoiseSchedule(torch.tensor(betas, dtype=torch.float64)))
            kept[count] = betas
        except ValueError as error:
            notes.append(f"the fast schedule of {count} steps is left out: {error}")
    steps = config.sampling.steps if not notes else min(config.diffusion.steps, config.sampling.steps)
    return replace(config, sampling=replace(config.sampling, fast_betas=kept, steps=steps)), notes


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
