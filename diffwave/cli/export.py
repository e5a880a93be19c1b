"""``diffwave export``: a run directory becomes a checkpoint folder to give away."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from diffwave.cli.arguments import CommandParser, count_argument
from diffwave.cli.plan import InputError


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave export", description=__doc__)
    result.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="of a training, or a checkpoint folder")
    result.add_argument("--output", "-o", type=Path, required=True, metavar="DIR")
    result.add_argument("--half", action="store_true", help="store the weights in float16")
    result.add_argument("--steps", type=count_argument, default=None, help="default number of network calls")
    result.add_argument("--sampler", choices=("ddpm", "ddim"), default=None, help="default sampler")
    result.add_argument(
        "--consistency", type=count_argument, default=None, metavar="N", help="default mel-consistency iterations"
    )
    result.add_argument("--force", action="store_true", help="replace a checkpoint that exists")
    return result


def main(arguments: list[str]) -> int:
    """Write the averaged weights and the configuration, with the sampling defaults asked for."""
    from diffwave.checkpoint import CONFIG_NAME, WEIGHTS_NAME, load_checkpoint, save_checkpoint

    options = parser().parse_args(arguments)
    if (options.output / CONFIG_NAME).exists() and not options.force:
        raise InputError(f"--output {options.output} holds a checkpoint; --force replaces it")
    checkpoint = load_checkpoint(options.run_dir)
    trained = checkpoint.config.diffusion.steps
    if options.steps is not None and not 1 <= options.steps <= trained:
        raise InputError(f"--steps: expected 1 to {trained}, the steps it was trained on; got {options.steps}")
    given = {
        "steps": options.steps,
        "sampler": options.sampler,
        "consistency_iterations": options.consistency,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    sampling = dataclasses.replace(checkpoint.config.sampling, **changes)
    config = dataclasses.replace(checkpoint.config, sampling=sampling)
    try:
        save_checkpoint(options.output, dataclasses.replace(checkpoint, config=config), options.half)
    except OSError as error:
        raise InputError(f"--output {options.output}: expected a folder that can be written; {error}") from None
    size = sum((options.output / name).stat().st_size for name in (CONFIG_NAME, WEIGHTS_NAME))
    print(f"{options.output}: {size / 2**20:.2f} MiB")
    return 0
