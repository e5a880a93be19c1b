"""``diffwave synthesize``: recordings (copy synthesis) or mels in, WAV files out."""

from __future__ import annotations

import argparse
import sys

from diffwave.cli.results import as_json, as_table
from diffwave.cli.vocoder_arguments import add_backend, add_checkpoint, add_mel, add_sampling, options_of
from diffwave.errors import one_line
from diffwave.rendering.render import RenderOrder, render
from diffwave.terminal.arguments import CommandParser, device_argument, path_argument, seconds_argument

_DESCRIPTION = """Turn recordings (copy synthesis) or mels into speech, one WAV file for each input.

Folders are searched with all their subfolders, whose structure is kept; hidden files and the output folder are left
out. Exit code 2 if an input could not be used; the others are done all the same."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave synthesize", description=_DESCRIPTION)
    add = result.add_argument
    inputs = "audio, .npy/.npz/.pt mels, or folders of them"
    add("inputs", nargs="+", type=path_argument, metavar="INPUT", help=inputs)
    add("--output", "-o", type=path_argument, required=True, metavar="DIR", help="folder for the WAV files")
    add_checkpoint(result)
    add_mel(result)
    add_sampling(result)
    add("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="default: auto")
    add_backend(result)
    add("--seed", type=int, default=0, help="of the noise (default: 0)")
    batch = "audio synthesized at once (default: one file at a time on a CPU, 120 s on a GPU)"
    add("--batch-seconds", type=seconds_argument, metavar="S", help=batch)
    chunk = (
        "read, synthesize and write in chunks of so much audio, in memory that does not grow; the outputs are the same"
    )
    add("--chunk-seconds", type=seconds_argument, metavar="S", help=chunk)
    add("--force", action="store_true", help="replace outputs that exist")
    add("--json", action="store_true", help="print the results as JSON")
    return result


def main(arguments: list[str]) -> int:
    """Synthesize every input that can be; exit code 2 if any could not."""
    options = parser().parse_args(arguments)
    order = RenderOrder(
        options.inputs,
        options.output,
        options_of(options),
        options.checkpoint,
        options.device,
        options.backend,
        options.precision,
        options.batch_seconds,
        options.chunk_seconds,
        options.force,
        options.mel,
    )
    done = render(order, _complain)
    if options.json:
        print(as_json(done.how, done.results, done.errors))
    elif done.results:
        print(as_table(done.results))
    return 2 if done.errors else 0


def _complain(line: str) -> None:
    from tqdm import tqdm

    # Through tqdm, which moves a progress bar out of the way.
    tqdm.write(f"diffwave synthesize: {one_line(line)}", file=sys.stderr)
