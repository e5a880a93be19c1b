"""A search that was asked for: whether it can be, and everything it needs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffwave.checkpoint.folder import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    Checkpoint,
    checkpoint_folder,
    load_checkpoint,
    packaged_checkpoints,
)
from diffwave.config import MelConvention, SynthesisOptions
from diffwave.errors import InputError
from diffwave.files import try_out
from diffwave.mel.spectrogram import MelWarning
from diffwave.search.found import LOG_NAME, MOST_CALLS, SearchSettings
from diffwave.search.objective import WEIGHTS, ScheduleObjective, read_clip
from diffwave.search.recordings import choose_recordings
from diffwave.vocoder import Vocoder


@dataclass(frozen=True)
class SearchOrder:
    """What to search for, and how.

    Args:
        inputs: recordings, or folders of them.
        checkpoint: name or folder.
        output: folder for a new checkpoint; the checkpoint itself is changed if None.
        calls: ranges of numbers of network calls; 1 to 12 if None.
        options: of synthesis, whose steps are those that are tried.
        utterances: how many recordings.
        seconds: of the middle of each.
        evaluations: schedules tried for each number of calls, at most.
        device, backend, precision: see :class:`~diffwave.vocoder.Vocoder`.
        force: whether a checkpoint in ``output`` is replaced.
        mel: convention that the recordings are spoken through; the checkpoint's if None.
    """

    inputs: list[Path]
    checkpoint: str
    output: Path | None
    calls: Sequence[range] | None
    options: SynthesisOptions
    utterances: int
    seconds: float
    evaluations: int
    device: str = "auto"
    backend: str = "auto"
    precision: str = "auto"
    force: bool = False
    mel: MelConvention | None = None


@dataclass(frozen=True, eq=False)
class Search:
    """Everything that a search needs.

    Args:
        objective: with the vocoder of the checkpoint.
        counts: numbers of calls, rising.
        checkpoint: as it is stored, to be written with other schedules and otherwise unchanged.
        target: folder to write it to.
        settings: for the record.
    """

    objective: ScheduleObjective
    counts: list[int]
    checkpoint: Checkpoint
    target: Path
    settings: SearchSettings


def prepare(order: SearchOrder) -> Search:
    """Make sure of an order.

    Raises:
        UserError: if the checkpoint, a recording, a number of calls, the options or the output folder cannot be used.
    """
    source = checkpoint_folder(order.checkpoint)
    target = _target(source, order)
    checkpoint = load_checkpoint(source)
    counts = _counts(order.calls, checkpoint.config.diffusion.steps)
    objective = _objective(order, choose_recordings(order.inputs, order.utterances))
    try_out(target, "--output" if order.output else "--checkpoint")
    return Search(objective, counts, checkpoint, target, _settings(order, objective))


def _target(source: Path, order: SearchOrder) -> Path:
    """The folder that is written; refuses to change what others rely on."""
    if order.output is None:
        if source.resolve() in [folder.resolve() for folder in packaged_checkpoints().values()]:
            raise InputError(f"--checkpoint {order.checkpoint}: a packaged one is not changed; expected an --output")
        return source
    folder = order.output
    there = [name for name in (WEIGHTS_NAME, CONFIG_NAME, LOG_NAME) if (folder / name).exists()]
    if there and not order.force:
        raise InputError(f"--output {folder} holds {', '.join(there)}; --force replaces it")
    return folder


def _counts(wanted: Sequence[range] | None, trained: int) -> list[int]:
    """Numbers of calls, rising, so that each search can start from the one before."""
    if wanted is None:
        return list(range(1, min(MOST_CALLS, trained) + 1))
    ends = [count for each in wanted for count in (each[0], each[-1])]  # of a range too long to be written out, too
    wrong = [count for count in ends if not 1 <= count <= trained]
    if wrong:
        raise InputError(f"--steps: expected 1 to {trained}, the steps it was trained on; got {wrong[0]}")
    return sorted({count for each in wanted for count in each})


def _objective(order: SearchOrder, recordings: list[Path]) -> ScheduleObjective:
    """What judges schedules; raises AudioError for a recording that cannot be used."""
    # Without graphs: one would be recorded for every schedule.
    vocoder = Vocoder.from_pretrained(
        order.checkpoint, order.device, order.backend, order.precision, graphs=False, mel=order.mel
    )
    # Mels of recordings may look strange.
    warnings.simplefilter("ignore", MelWarning)
    clips = [read_clip(vocoder, path, order.seconds) for path in recordings]
    try:
        return ScheduleObjective(vocoder, clips, order.options)
    except ValueError as error:
        raise InputError(str(error)) from None


def _settings(order: SearchOrder, objective: ScheduleObjective) -> SearchSettings:
    vocoder = objective.vocoder
    how = {**vocoder.convention.record(), **vocoder.record(vocoder.resolve())}
    return SearchSettings(
        how={name: value for name, value in how.items() if name not in ("steps", "schedule")},
        field=objective.field,
        objective=WEIGHTS,
        evaluations=order.evaluations,
        utterances=[clip.path.stem for clip in objective.clips],
        seconds=order.seconds,
    )
