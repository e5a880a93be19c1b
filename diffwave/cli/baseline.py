"""``diffwave baseline``: the floor under every vocoder, made from the same mel without any network."""

from __future__ import annotations

import argparse

from diffwave.cli.results import as_json, as_table
from diffwave.cli.vocoder_arguments import add_mel
from diffwave.evaluation.baselines import SYSTEMS, BaselineSettings, make_all
from diffwave.terminal.arguments import CommandParser, count_argument, path_argument


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave baseline", description=__doc__)
    add = result.add_argument
    add(
        "--reference",
        type=path_argument,
        required=True,
        metavar="DIR",
        help="folder of recordings, or of .npy/.npz/.pt mels",
    )
    add("--output", "-o", type=path_argument, required=True, metavar="DIR", help="folder for the audio")
    choices = "griffin-lim: librosa's; mel-consistency: white noise pushed towards the mel; copy: the recordings"
    add("--system", choices=SYSTEMS, required=True, help=choices)
    add("--iterations", type=count_argument, default=60, metavar="N", help="of the first two (default: 60)")
    add_mel(result, "convention of the mels, read or taken of recordings (default: default; diffwave mels lists them)")
    add("--force", action="store_true", help="replace outputs that exist")
    add("--json", action="store_true", help="print the results as JSON")
    return result


def main(arguments: list[str]) -> int:
    """Make the outputs of a system for every recording or mel; exit code 2 if any could not be."""
    options = parser().parse_args(arguments)
    settings = BaselineSettings(options.system, options.iterations, options.mel)
    results, errors = make_all(options.reference, options.output, settings, options.force)
    if options.json:
        print(as_json(settings.record(), results, errors))
    elif results:
        print(as_table(results))
    return 2 if errors else 0
