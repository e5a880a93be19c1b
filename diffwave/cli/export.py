"""``diffwave export``: a run directory becomes a checkpoint folder to give away, with a model card."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from diffwave.cli.arguments import CommandParser, count_argument
from diffwave.cli.plan import InputError
from diffwave.config.sampling import PLACES, SAMPLERS

if TYPE_CHECKING:
    from diffwave.config import ModelConfig

CARD_NAME = "README.md"


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave export", description=__doc__)
    result.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="of a training, its best/, or a checkpoint")
    result.add_argument("--output", "-o", type=Path, required=True, metavar="DIR")
    result.add_argument("--half", action="store_true", help="store the weights in float16")
    result.add_argument("--steps", type=count_argument, default=None, help="default number of network calls")
    result.add_argument("--sampler", choices=SAMPLERS, default=None, help="default sampler")
    result.add_argument(
        "--consistency", type=count_argument, default=None, metavar="N", help="default mel-consistency iterations"
    )
    result.add_argument(
        "--consistency-at",
        choices=PLACES,
        default=None,
        help="where else: nowhere, after every network call, or also before the first",
    )
    rounds = "default rounds of the refiner, if the checkpoint has one"
    result.add_argument("--refinements", type=count_argument, default=None, metavar="N", help=rounds)
    result.add_argument("--force", action="store_true", help="replace files that exist")
    return result


def main(arguments: list[str]) -> int:
    """Write the averaged weights, the configuration with the sampling defaults asked for, and a model card."""
    from diffwave.checkpoint import CONFIG_NAME, WEIGHTS_NAME, load_checkpoint, save_checkpoint
    from diffwave.files import write_text
    from diffwave.model_card import model_card

    options = parser().parse_args(arguments)
    names = (WEIGHTS_NAME, CONFIG_NAME, CARD_NAME)
    check_output(options.output, names, options.force)
    _check_run(options.run_dir, CONFIG_NAME)
    checkpoint = load_checkpoint(options.run_dir)
    checkpoint = dataclasses.replace(checkpoint, config=_with_sampling(checkpoint.config, options))
    try:
        save_checkpoint(options.output, checkpoint, options.half)
        write_text(options.output / CARD_NAME, model_card(checkpoint, options.output.resolve().name))
    except OSError as error:
        raise InputError(f"--output {options.output}: expected a folder that can be written; {error}") from None
    size = sum((options.output / name).stat().st_size for name in names)
    print(f"{options.output}: {', '.join(names)}, {size / 2**20:.2f} MiB")
    return 0


def check_output(folder: Path, names: tuple[str, ...], force: bool) -> None:
    """Refuse to replace files that nobody said may be replaced."""
    there = [name for name in names if (folder / name).exists()]
    if there and not force:
        raise InputError(f"--output {folder} holds {', '.join(there)}; --force replaces it")


def _check_run(folder: Path, config_name: str) -> None:
    """Tell a run that has no checkpoint yet from a folder that is none."""
    from diffwave.training.journal import HISTORY_NAME
    from diffwave.training.run_folder import LOG_NAME
    from diffwave.training.states import states

    is_run = states(folder) or any((folder / name).exists() for name in (HISTORY_NAME, LOG_NAME))
    if is_run and not (folder / config_name).exists():
        raise InputError(
            f"{folder}: expected a run with a checkpoint; it has none yet - the first comes after "
            "train.checkpoint_every iterations, and at the end"
        )


def _with_sampling(config: ModelConfig, options: argparse.Namespace) -> ModelConfig:
    """The configuration with the sampling defaults that were asked for."""
    trained = config.diffusion.steps
    if options.steps is not None and not 1 <= options.steps <= trained:
        raise InputError(f"--steps: expected 1 to {trained}, the steps it was trained on; got {options.steps}")
    given = {
        "steps": options.steps,
        "sampler": options.sampler,
        "consistency_iterations": options.consistency,
        "consistency_at": options.consistency_at,
        "refinements": options.refinements,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(config, sampling=dataclasses.replace(config.sampling, **changes))
