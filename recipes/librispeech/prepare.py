"""Make training and validation manifests of LibriSpeech, or of any folder tree of audio.

    python recipes/librispeech/prepare.py --root data/LibriSpeech --output data/manifests --download train-clean-100

Every file is read in full once. What can be used stands in train.jsonl, val.jsonl and a manifest for each of
LibriSpeech's own dev and test subsets, what cannot in rejected.jsonl with the reason; figures are in statistics.json
and on stdout. val/, test-clean/ ... are folders of links to some utterances of each speaker, to be synthesized and
evaluated.

An interrupted run goes on where it stopped; one that is repeated changes nothing. Exit code 2: a mistake, in one line.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from diffwave.config import ConfigError
from diffwave.corpus.librispeech import MIRROR, SUBSETS, download
from diffwave.corpus.preparation import Preparation, prepare
from diffwave.corpus.products import Products
from diffwave.errors import one_line
from diffwave.processes.cores import usable_cores
from diffwave.terminal.arguments import CommandParser, count_argument, path_argument, seconds_argument
from diffwave.terminal.tables import table

_NAME = "prepare.py"


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    result = CommandParser(
        prog=_NAME, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = result.add_argument
    root = "a LibriSpeech root (with train-clean-100 and the like in it), or any folder tree of audio"
    add("--root", type=path_argument, required=True, metavar="DIR", help=root)
    add("--output", "-o", type=path_argument, required=True, metavar="DIR", help="folder for the manifests")
    fetch = f"bring these into the root first, unless they are there: {', '.join(SUBSETS)}"
    add("--download", nargs="+", default=[], metavar="SUBSET", help=fetch)
    add("--mirror", default=MIRROR, metavar="URL", help=f"where archives come from (default: {MIRROR})")
    add("--keep-archives", action="store_true", help="leave downloaded archives in ROOT/.download")
    subsets = "folders of the root to use (default: train-* and LibriSpeech's dev and test subsets, or all of it)"
    add("--subsets", nargs="+", default=[], metavar="NAME", help=subsets)
    held_out = result.add_mutually_exclusive_group()
    count = "hold out so many speakers (default: 40, at most a tenth)"
    held_out.add_argument("--validation-speakers", type=count_argument, metavar="N", help=count)
    listed = "hold out these: a speaker, or the path of an utterance, on each line"
    held_out.add_argument("--validation-list", type=path_argument, metavar="FILE", help=listed)
    add("--seed", type=count_argument, default=0, metavar="S", help="of the validation speakers (default: 0)")
    add("--sample-rate", type=count_argument, default=16000, metavar="HZ", help="reject others (default: 16000)")
    shortest = "reject shorter utterances (default: 1)"
    add("--min-seconds", type=seconds_argument, default=1.0, metavar="S", help=shortest)
    links = "utterances of each speaker in the folders of links val/, test-clean/ ...; 0: all (default: 1)"
    add("--per-speaker", type=count_argument, default=1, metavar="N", help=links)
    add("--jobs", type=count_argument, metavar="N", help="processes that decode (default: one for each core)")
    add("--force", action="store_true", help="replace manifests that were made with other settings")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Download if asked to, prepare, and print what there is."""
    options = parser().parse_args(arguments)
    try:
        for name in download(options.root, options.download, options.mirror, options.keep_archives):
            print(f"{_NAME}: {name} is there", file=sys.stderr)
        products = prepare(_settings(options), options.jobs or usable_cores(), options.force)
        report(products, options)
    except (ConfigError, ImportError) as error:
        return _complain(str(error))
    except OSError as error:
        where = error.filename or options.output
        return _complain(f"{where}: cannot be read or written; {error.strerror or error}")
    except KeyboardInterrupt:
        print(f"{_NAME}: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


def _settings(options: argparse.Namespace) -> Preparation:
    return Preparation(
        root=options.root,
        output=options.output,
        subsets=tuple(options.subsets),
        sample_rate=options.sample_rate,
        min_seconds=options.min_seconds,
        seed=options.seed,
        validation_speakers=options.validation_speakers,
        validation_list=options.validation_list,
        per_speaker=options.per_speaker,
    )


def report(products: Products, options: argparse.Namespace) -> None:
    """Tables on stdout, notes on stderr."""
    statistics = products.statistics()
    rows = []
    for name, split in statistics["splits"].items():
        rows.append(_row(name, split))
        if len(split["subsets"]) > 1:
            rows += [_row(f"  {subset}", figures) for subset, figures in split["subsets"].items()]
    header = ["split", "hours", "utterances", "speakers", "seconds min/median/max", "dBFS 5/50/95 %", "peak", "DC"]
    print(table([*header, "clipped"], rows))
    print()
    if products.validation_speakers:
        print(f"validation speakers: {one_line(' '.join(products.validation_speakers))}")
    rejected = ", ".join(f"{count} {reason}" for reason, count in statistics["rejected"].items())
    print(f"rejected: {len(products.rejected)}" + (f" ({rejected}); see rejected.jsonl" if rejected else ""))
    print(f"seed: {options.seed}; sample rate: {options.sample_rate} Hz; written: {one_line(str(options.output))}")
    for note in products.notes:
        print(f"{_NAME}: {one_line(note)}", file=sys.stderr)


def _row(name: str, figures: dict[str, Any]) -> list[str]:
    seconds, level = figures["seconds"], figures["level_dbfs"]
    return [
        one_line(name),
        f"{figures['hours']:.2f}",
        f"{figures['utterances']}",
        f"{figures['speakers']}",
        f"{seconds['min']:.1f} / {seconds['median']:.1f} / {seconds['max']:.1f}",
        f"{level['p5']:.1f} / {level['median']:.1f} / {level['p95']:.1f}",
        f"{figures['peak']:.3f}",
        f"{figures['dc_offset']:.4f}",
        f"{figures['clipped']}",
    ]


def _complain(message: str) -> int:
    print(f"{_NAME}: {one_line(message)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
