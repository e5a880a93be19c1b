"""``diffwave bench``: how fast a model speaks on this machine, and how fast it could at best."""

from __future__ import annotations

import argparse
import sys

from diffwave.cli.vocoder_arguments import add_backend, add_mel, checkpoint_argument, steps_argument
from diffwave.errors import InputError, reason
from diffwave.terminal.arguments import CommandParser, device_argument, path_argument, seconds_argument

_MOST, _LONGEST = 1024, 3600.0
_DESCRIPTION = """Time synthesis on this machine: one output of each length (latency), and batches (throughput).

Every figure is the median of several calls, after two to warm up, and stands beside the least time that the network's
arithmetic and memory traffic allow at the rates of a large matrix product and a large copy, measured in the same run
with the same number of threads."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave bench", description=_DESCRIPTION)
    model = result.add_mutually_exclusive_group()
    folder = "checkpoint folder, or the name of a packaged one (default: default)"
    model.add_argument("--checkpoint", type=checkpoint_argument, default="default", metavar="DIR", help=folder)
    untrained = "a configuration (base, large, fast ...: configs/model) with random weights instead"
    model.add_argument("--model", type=_configuration, metavar="NAME", help=untrained)
    add = result.add_argument
    add("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="default: auto")
    add_backend(result)
    add_mel(result)
    add("--steps", type=steps_argument, metavar="N|full", help="network calls (default: the checkpoint's)")
    add("--threads", type=_positive, metavar="N", help="of the processor (default: PyTorch's choice)")
    lengths = "lengths of the outputs (default: 1 10)"
    add("--seconds", dest="lengths", type=_length, nargs="+", default=[1.0, 10.0], metavar="S", help=lengths)
    sizes = "outputs made at once, each as long as the first of --seconds (default: 1 4; on a GPU 1 8 32 128)"
    add("--batch", dest="batches", type=_positive, nargs="+", metavar="N", help=sizes)
    add("--repeats", type=_positive, default=5, metavar="N", help="timed calls for each figure (default: 5)")
    add("--json", type=path_argument, metavar="FILE", help="write every figure as JSON too")
    add("--output", "-o", type=path_argument, metavar="FILE", help="write the table as Markdown too")
    add("--force", action="store_true", help="replace files that exist")
    return result


def _positive(text: str) -> int:
    if text.isdecimal() and 0 < int(text) <= _MOST:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a number from 1 to {_MOST}; got {text!r}")


def _configuration(text: str) -> str:
    """The name of a file in configs/model."""
    from diffwave.config.composing import configs_folder

    names = sorted(path.stem for path in (configs_folder() / "model").glob("*.yaml"))
    if text in names:
        return text
    raise argparse.ArgumentTypeError(f"expected one of {', '.join(names)}; got {text!r}")


def _length(text: str) -> float:
    seconds = seconds_argument(text)
    if seconds > _LONGEST:
        raise argparse.ArgumentTypeError(f"expected at most {_LONGEST:g} seconds; got {text!r}")
    return seconds


def main(arguments: list[str]) -> int:
    """Measure, print the table, and write the files that were asked for."""
    options = vars(parser().parse_args(arguments))
    from diffwave.cli.bench_results import as_json, as_markdown, as_text
    from diffwave.files import check_target, write_text
    from diffwave.speed.benchmark import BenchSettings, run_benchmark

    json, page, force = (options.pop(name) for name in ("json", "output", "force"))
    files = [(path, text) for path, text in ((json, as_json), (page, as_markdown)) if path]
    for path, _ in files:
        check_target(path, force)
    if json and page and json.absolute() == page.absolute():
        raise InputError(f"expected two files for --json and --output; got {json} for both")
    found = run_benchmark(BenchSettings(**options), _say)
    print(as_text(*found))
    for path, text in files:
        try:
            write_text(path, text(*found))
        except OSError as error:
            raise InputError(f"{path}: expected a file that can be written; {reason(error)}") from None
    return 0


def _say(text: str) -> None:
    print(f"diffwave bench: {text} ...", file=sys.stderr, flush=True)
