"""``diffwave listen export``: folders of audio in, a listening test that can be sent to people out."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from diffwave.errors import InputError, one_line, reason
from diffwave.terminal.arguments import (
    CommandParser,
    count_argument,
    named_folder_argument,
    path_argument,
    seconds_argument,
)

if TYPE_CHECKING:
    from diffwave.listening.exporting import Export

_DESCRIPTION = """Make a listening test: one HTML file to send to listeners, a webMUSHRA configuration, tables
for P.808, and a private folder with the key.

Utterances are matched by their paths below the folders. Stimuli get one sample rate, length and
loudness (-23 LUFS) and are never clipped. The same seed and the same audio give the same files."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(
        prog="diffwave listen export", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = result.add_argument
    add("--reference", type=path_argument, required=True, metavar="DIR", help="folder of the recordings")
    system = "a system to judge, and the folder of its outputs; once for each system"
    add("--system", type=named_folder_argument, action="append", required=True, metavar="NAME=DIR", help=system)
    add("--method", choices=("mushra", "acr", "ab", "cmos", "abx"), required=True)
    add("--items", type=count_argument, required=True, metavar="N", help="utterances of the test")
    seed = "of the choice of utterances and of all names (default: 0)"
    add("--seed", type=count_argument, default=0, metavar="S", help=seed)
    add("--output", "-o", type=path_argument, required=True, metavar="DIR", help="folder to make")
    add("--name", default="", metavar="ID", help="of the test in results (default: made from method and seed)")
    add("--title", default="Listening test", metavar="T", help="shown to listeners (default: Listening test)")
    longest = "longer utterances are cut to their beginning (default: 10, at most 12)"
    add("--max-seconds", type=seconds_argument, default=10.0, metavar="S", help=longest)
    anchors = "for mushra and acr: griffin-lim, anchor35, both with a comma, or none (default: both)"
    add("--anchors", type=anchors_argument, metavar="A,B|none", help=anchors)
    add("--anchor70", action="store_true", help="add the 7 kHz low-pass anchor of BS.1534")
    loudness = "per-item: one gain for all, found on the reference, if levels are part of the systems"
    add("--loudness", choices=("per-stimulus", "per-item"), default="per-stimulus", help=loudness)
    pairs = "for ab, cmos and abx: each two systems, or each system with the reference (default for abx)"
    add("--pairs", choices=("systems", "reference"), default="", help=pairs)
    add("--base-url", default="", metavar="URL", help="where clips for P.808 will be uploaded to")
    add("--force", action="store_true", help="replace an earlier test")
    return result


def anchors_argument(text: str) -> tuple[str, ...]:
    """Names with commas between them, or ``none``."""
    return () if text == "none" else tuple(dict.fromkeys(name.strip() for name in text.split(",")))


def main(arguments: list[str]) -> int:
    """Make the test and say what is where."""
    options = vars(parser().parse_args(arguments))
    # Imported late: --help needs none of it.
    from tqdm import tqdm

    from diffwave.listening.export_settings import ExportSettings
    from diffwave.listening.exporting import export

    systems, anchor70 = options.pop("system"), options.pop("anchor70")
    names = [name for name, _ in systems]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"--system: expected each name once; got {twice[0]} twice")
    settings = ExportSettings(systems=dict(systems), **options)
    settings = settings.with_anchor70() if anchor70 else settings
    try:
        with tqdm(unit="utterance", disable=None, file=sys.stderr) as progress:
            done = export(settings, lambda _: progress.update() and None)
    except OSError as error:
        where = error.filename or settings.output
        raise InputError(f"{where}: cannot be read or written; {reason(error)}") from None
    _report(done)
    return 0


def _report(done: Export) -> None:
    """Notes on stderr, what was made on stdout."""
    from diffwave.listening.words import counted

    for note in done.notes:
        print(f"diffwave listen export: {one_line(note)}", file=sys.stderr)
    test = done.test
    folder = one_line(str(done.folder))
    print(f"{test.test_id}: {test.method}, {counted(len(test.trials), 'trial')}, {len(test.stimuli)} stimuli")
    print(f"send  {folder}/index.html ({done.page_bytes / 1e6:.1f} MB)")
    print(f"keep  {folder}/private (the key)")
    print(f"read  {folder}/README.md")
