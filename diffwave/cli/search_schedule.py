"""``diffwave search-schedule``: find the trained steps that few network calls should visit."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from diffwave.cli.arguments import add_backend, checkpoint_argument
from diffwave.cli.search_results import as_json, as_table
from diffwave.errors import InputError
from diffwave.files import try_out
from diffwave.search.found import LOG_NAME, Found, SearchSettings
from diffwave.terminal.arguments import CommandParser, count_argument, device_argument, path_argument, seconds_argument

if TYPE_CHECKING:
    from diffwave.search.objective import ScheduleObjective

_DESCRIPTION = """Find, for each number of network calls, the trained steps to visit, and store them in the checkpoint.

Schedules are judged by the outputs' distance to the recordings: multi-resolution STFT distance at equal level plus
log-mel distance plus a fifth of band synchrony's, mean over some utterances. PESQ is reported, not searched on. With
consistency between the network's calls a checkpoint has schedules of its own; --consistency 0 searches for the network
alone. After each number of calls the checkpoint is written, so that a search can be stopped at any time."""
_MOST_CALLS = 12


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave search-schedule", description=_DESCRIPTION)
    add = result.add_argument
    add("inputs", nargs="+", type=path_argument, metavar="WAV_OR_FOLDER", help="recordings, or folders of them")
    checkpoint = "checkpoint folder, which is updated in place without --output"
    add("--checkpoint", type=checkpoint_argument, required=True, metavar="DIR", help=checkpoint)
    add("--output", "-o", type=path_argument, metavar="DIR", help="folder for a new checkpoint")
    steps = f"numbers of network calls: 6, 1 2 3 or 1-12 (default: 1-{_MOST_CALLS})"
    add("--steps", type=calls_argument, nargs="+", metavar="N", help=steps)
    consistency = "mel-consistency iterations on the result, 0 for none (default: the checkpoint's)"
    add("--consistency", type=count_argument, metavar="N", help=consistency)
    add("--utterances", type=positive_argument, default=8, metavar="N", help="spread over the inputs (default: 8)")
    add("--seconds", type=seconds_argument, default=4.0, metavar="S", help="of the middle of each (default: 4)")
    most = "schedules tried for each number of calls, at most (default: 80)"
    add("--evaluations", type=positive_argument, default=80, metavar="N", help=most)
    add("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="default: auto")
    add_backend(result)
    add("--seed", type=int, default=0, help="of the noise (default: 0)")
    add("--force", action="store_true", help="replace a checkpoint in --output")
    add("--json", action="store_true", help="print the results as JSON")
    return result


def positive_argument(text: str) -> int:
    """A positive whole number."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a positive whole number; got {text!r}")


def calls_argument(text: str) -> range:
    """``6``, or ``1-12`` for all from 1 to 12; whether it was trained on so many steps is found out later."""
    first, _, last = text.partition("-")
    ends = first, last or first
    if all(end.isdecimal() for end in ends) and int(ends[0]) <= int(ends[1]) and not text.endswith("-"):
        return range(int(ends[0]), int(ends[1]) + 1)
    raise argparse.ArgumentTypeError(f"expected a number of network calls, or two as in 1-12; got {text!r}")


def main(arguments: list[str]) -> int:
    """Search, store, and print what was found; also what was found before Ctrl-C."""
    options = parser().parse_args(arguments)

    from diffwave.checkpoint.folder import checkpoint_folder, load_checkpoint
    from diffwave.search.sweep import choose_recordings, search_all

    source = checkpoint_folder(options.checkpoint)
    target = _target(source, options)
    checkpoint = load_checkpoint(source)
    counts = _counts(options.steps, checkpoint.config.diffusion.steps)
    objective = _objective(options, choose_recordings(options.inputs, options.utterances))
    try_out(target, "--output" if options.output else "--checkpoint")
    settings = _settings(options, objective)
    found: list[Found] = []
    try:
        search_all(objective, counts, checkpoint, target, settings, found)
    finally:
        if found:
            print(as_json(str(target), settings, found) if options.json else as_table(found))
    return 0


def _target(source: Path, options: argparse.Namespace) -> Path:
    """The folder that is written; refuses to change what others rely on."""
    from diffwave.checkpoint.folder import CONFIG_NAME, WEIGHTS_NAME, packaged_checkpoints

    if options.output is None:
        if source.resolve() in [folder.resolve() for folder in packaged_checkpoints().values()]:
            raise InputError(f"--checkpoint {options.checkpoint}: a packaged one is not changed; expected an --output")
        return source
    folder: Path = options.output
    there = [name for name in (WEIGHTS_NAME, CONFIG_NAME, LOG_NAME) if (folder / name).exists()]
    if there and not options.force:
        raise InputError(f"--output {folder} holds {', '.join(there)}; --force replaces it")
    return folder


def _counts(wanted: list[range] | None, trained: int) -> list[int]:
    """Numbers of calls, rising, so that each search can start from the one before."""
    if wanted is None:
        return list(range(1, min(_MOST_CALLS, trained) + 1))
    ends = [count for each in wanted for count in (each[0], each[-1])]  # of a range too long to be written out, too
    wrong = [count for count in ends if not 1 <= count <= trained]
    if wrong:
        raise InputError(f"--steps: expected 1 to {trained}, the steps it was trained on; got {wrong[0]}")
    return sorted({count for each in wanted for count in each})


def _objective(options: argparse.Namespace, recordings: list[Path]) -> ScheduleObjective:
    """What judges schedules; raises AudioError for a recording that cannot be used."""
    from diffwave.mel.consistency import MelConsistency
    from diffwave.mel.spectrogram import MelWarning
    from diffwave.search.objective import ScheduleObjective, read_clip
    from diffwave.vocoder import Vocoder

    # Without graphs: one would be recorded for every schedule.
    chosen = options.device, options.backend, options.precision
    vocoder = Vocoder.from_pretrained(options.checkpoint, *chosen, graphs=False)
    # Mels of recordings may look strange.
    warnings.simplefilter("ignore", MelWarning)
    clips = [read_clip(vocoder, path, options.seconds) for path in recordings]
    objective = ScheduleObjective(vocoder, clips, options.consistency, options.seed)
    if objective.sampling.consistency_iterations:
        try:
            MelConsistency(vocoder.front_end)
        except ValueError as error:
            raise InputError(str(error)) from None
    return objective


def _settings(options: argparse.Namespace, objective: ScheduleObjective) -> SearchSettings:
    from diffwave.search.objective import WEIGHTS

    chosen = objective.sampling
    return SearchSettings(
        field=objective.field,
        sampler=(chosen.guided_sampler if chosen.guided else "") or chosen.sampler,
        consistency=chosen.consistency_iterations,
        consistency_at=chosen.consistency_at if chosen.consistency_iterations else "end",
        refinements=chosen.refinements if chosen.consistency_iterations else 0,
        objective=WEIGHTS,
        evaluations=options.evaluations,
        utterances=[clip.path.stem for clip in objective.clips],
        seconds=options.seconds,
        seed=options.seed,
        device=str(objective.vocoder.device),
        backend=objective.vocoder.backend,
        precision=objective.vocoder.precision,
    )
