"""Train variants of the small model under one budget, score them in one table, and say which levers help.

    python recipes/librispeech/ablate.py --data data/LibriSpeech --output ablation --iterations 6000 --seeds 0 1
    python recipes/librispeech/ablate.py --list
    python recipes/librispeech/ablate.py --output ablation --page

Every variant changes one thing of experiment=librispeech_fast and learns from the same data for as many iterations.
Each then speaks validation utterances with 6 steps, alone and with mel consistency, and is scored beside floors without
a network. What is done stands in OUTPUT/VARIANT-SEED.json and is not done again; --page writes docs/ablation.md and
docs/ablation.json from that.

Hydra overrides of all variants may follow behind --, for example -- train.batch_size=32.
Exit code: 0; 1 if a variant could not be run; 2: a mistake, in one line.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from ablation.variants import VARIANTS, choose
from diffwave.config import ConfigError
from diffwave.errors import UserError, one_line
from diffwave.terminal.arguments import CommandParser, count_argument, path_argument

_NAME = "ablate.py"
_HERE = Path(__file__).resolve().parent


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    result = CommandParser(
        prog=_NAME, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = result.add_argument
    add("--data", type=path_argument, metavar="DIR", help="LibriSpeech root, or any folder tree of audio")
    add("--output", "-o", type=path_argument, metavar="DIR", help="folder for results, checkpoints and audio")
    add("--iterations", type=_positive, default=6000, metavar="N", help="of training (default: 6000)")
    add("--seeds", type=count_argument, nargs="+", default=[0, 1], metavar="S", help="default: 0 1")
    add("--variants", nargs="+", default=[], metavar="NAME", help="default: all of --list")
    add("--utterances", type=_positive, default=20, metavar="N", help="that are scored (default: 20)")
    listed = _HERE / "splits" / "val.txt"
    add("--validation-list", type=path_argument, default=listed, metavar="FILE", help="their paths below --data")
    add("--threads", type=_positive, default=1, metavar="N", help="of PyTorch (default: 1)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    add("--experiment", default="librispeech_fast", metavar="NAME", help="that variants start from")
    add("--consistency", type=_positive, default=200, metavar="N", help="iterations of it (default: 200)")
    add("--list", action="store_true", help="print the variants and end")
    add("--page", action="store_true", help="write the page from the results in --output, without training")
    docs = _HERE.parents[1] / "docs"
    add("--docs", type=path_argument, default=docs, metavar="DIR", help="where the page goes (default: docs)")
    return result


def _positive(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a positive whole number; got {text!r}")


def main(arguments: list[str] | None = None) -> int:
    """List, run, or write the page."""
    words = sys.argv[1:] if arguments is None else arguments
    place = words.index("--") if "--" in words else len(words)
    options = parser().parse_args(words[:place])
    try:
        if options.list:
            print(listing())
            return 0
        if options.page:
            from ablation.page import write_page

            print(write_page(_needed(options.output, "--output"), options.docs))
            return 0
        return _run(options, words[place + 1 :])
    except (UserError, ImportError) as error:
        print(f"{_NAME}: {one_line(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename or options.output
        print(f"{_NAME}: {where}: cannot be read or written; {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{_NAME}: interrupted; the same command goes on", file=sys.stderr)
        return 130


def _needed(value: Path | None, option: str) -> Path:
    if value is None:
        raise ConfigError(f"expected {option}; {_NAME} --help explains")
    return value


def _run(options: argparse.Namespace, overrides: list[str]) -> int:
    """Check everything that can be before the first minute of training, then run."""
    from ablation.running import Laboratory, link_recordings, run_all
    from diffwave.config.composing import compose_config

    data, output = _needed(options.data, "--data"), _needed(options.output, "--output")
    if not data.is_dir():
        raise ConfigError(f"--data {data}: expected a folder of audio; there is none")
    lines = options.validation_list.read_text(encoding="utf-8").split()
    if len(lines) < options.utterances:
        raise ConfigError(f"--utterances: {options.validation_list} has {len(lines)}; got {options.utterances}")
    variants = choose(options.variants)
    for variant in variants:
        compose_config([f"experiment={options.experiment}", *overrides, *variant.overrides])
    laboratory = Laboratory(
        data=data,
        output=output,
        iterations=options.iterations,
        utterances=tuple(lines[: options.utterances]),
        threads=options.threads,
        device=options.device,
        experiment=options.experiment,
        overrides=tuple(overrides),
        consistency=options.consistency,
    )
    link_recordings(laboratory)
    return 1 if run_all(laboratory, variants, list(dict.fromkeys(options.seeds))) else 0


def listing() -> str:
    """Every variant with its cost, its overrides and its reason."""
    from ablation.running import relative_cost

    lines = ["cost: operations of a training iteration's network for as much audio, over the default's", ""]
    for each in VARIANTS:
        lines.append(f"{each.name}, cost {relative_cost(each):.2f}: {' '.join(each.overrides) or 'no overrides'}")
        lines += textwrap.wrap(f"{each.why} ({each.source})", 100, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
