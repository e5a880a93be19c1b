"""``diffwave mels``: the conventions of mels that have a name, or one of them as JSON, to be changed for ``--mel``."""

from __future__ import annotations

import argparse
import json

from diffwave.cli.vocoder_arguments import mel_argument
from diffwave.config import CONVENTIONS
from diffwave.terminal.arguments import CommandParser
from diffwave.terminal.tables import table


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave mels", description=__doc__)
    one = "print this one as JSON; a file of that is what --mel takes, too"
    result.add_argument("convention", nargs="?", type=mel_argument, metavar="NAME|FILE.json", help=one)
    return result


def main(arguments: list[str]) -> int:
    """Print the table, or one convention; returns 0."""
    chosen = parser().parse_args(arguments).convention
    if chosen is not None:
        print(json.dumps(chosen.document(), indent=2))
        return 0
    rows = []
    for name, convention in CONVENTIONS.items():
        mel = convention.mel
        sizes = [str(mel.sample_rate), f"{mel.n_fft}/{mel.hop_length}", f"{mel.n_mels}, {mel.f_min:g}-{mel.f_max:g}"]
        rows.append([name, *sizes, mel.log + ", standardised" * mel.standardised, convention.of])
    print(table(["name", "Hz", "FFT/hop", "bands, Hz", "values", "mels of"], rows))
    return 0
