"""``diffwave search-schedule``: find the trained steps that few network calls should visit."""

from __future__ import annotations

import argparse

from diffwave.cli.search_results import as_json, as_table
from diffwave.cli.vocoder_arguments import add_backend, add_mel, checkpoint_argument
from diffwave.config import SynthesisOptions
from diffwave.search.found import MOST_CALLS, Found
from diffwave.terminal.arguments import CommandParser, count_argument, device_argument, path_argument, seconds_argument

_DESCRIPTION = """Find, for each number of network calls, the trained steps to visit, and store them in the checkpoint.

Schedules are judged by the outputs' distance to the recordings: multi-resolution STFT distance at equal level plus
log-mel distance plus a fifth of band synchrony's, mean over some utterances. PESQ is reported, not searched on. With
consistency between the network's calls a checkpoint has schedules of its own; --consistency 0 searches for the network
alone. After each number of calls the checkpoint is written, so that a search can be stopped at any time."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave search-schedule", description=_DESCRIPTION)
    add = result.add_argument
    add("inputs", nargs="+", type=path_argument, metavar="WAV_OR_FOLDER", help="recordings, or folders of them")
    checkpoint = "checkpoint folder, which is updated in place without --output"
    add("--checkpoint", type=checkpoint_argument, required=True, metavar="DIR", help=checkpoint)
    add("--output", "-o", type=path_argument, metavar="DIR", help="folder for a new checkpoint")
    add_mel(result, "speak the recordings through mels of this convention (default: the checkpoint's)")
    steps = f"numbers of network calls: 6, 1 2 3 or 1-12 (default: 1-{MOST_CALLS})"
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

    from diffwave.search.order import SearchOrder, prepare
    from diffwave.search.sweep import search_all

    order = SearchOrder(
        options.inputs,
        options.checkpoint,
        options.output,
        options.steps,
        SynthesisOptions(seed=options.seed, consistency=options.consistency),
        options.utterances,
        options.seconds,
        options.evaluations,
        options.device,
        options.backend,
        options.precision,
        options.force,
        options.mel,
    )
    search = prepare(order)
    found: list[Found] = []
    try:
        search_all(search, found)
    finally:
        if found:
            print(as_json(str(search.target), search.settings, found) if options.json else as_table(found))
    return 0
