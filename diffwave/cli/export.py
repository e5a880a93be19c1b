"""``diffwave export``: a run directory becomes a checkpoint folder to give away, with a model card, or ONNX files."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffwave.config.sampling import PLACES, SAMPLERS
from diffwave.errors import InputError
from diffwave.terminal.arguments import CommandParser, count_argument

if TYPE_CHECKING:
    from diffwave.checkpoint.folder import Checkpoint
    from diffwave.config import ModelConfig

CARD_NAME = "README.md"


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave export", description=__doc__)
    result.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="of a training, its best/, or a checkpoint")
    result.add_argument("--output", "-o", type=Path, required=True, metavar="DIR")
    form = (
        "safetensors (the default), or onnx: the conditioner and one denoising step, for diffwave synthesize and others"
    )
    result.add_argument("--to", choices=("safetensors", "onnx"), default="safetensors", help=form)
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
    terms = "of the weights, such as apache-2.0, for the model card (default: what the checkpoint says, if anything)"
    result.add_argument("--license", metavar="NAME", help=terms)
    result.add_argument("--force", action="store_true", help="replace files that exist")
    return result


def main(arguments: list[str]) -> int:
    """Write the averaged weights, the configuration with the sampling defaults asked for, and a model card."""
    from diffwave.checkpoint.folder import CONFIG_NAME, WEIGHTS_NAME, checkpoint_folder, load_checkpoint

    options = parser().parse_args(arguments)
    if options.to == "onnx":
        return _main_onnx(options)
    names = (WEIGHTS_NAME, CONFIG_NAME, CARD_NAME)
    check_output(options.output, names, options.force)
    _check_run(options.run_dir, CONFIG_NAME)
    checkpoint = load_checkpoint(checkpoint_folder(options.run_dir))
    config, story = _with_sampling(checkpoint.config, options), checkpoint.training
    if options.license is not None:
        story = {**story, "license": options.license}
    checkpoint = dataclasses.replace(checkpoint, config=config, training=story)
    write_checkpoint(options.output, checkpoint, options.half)
    return 0


def write_checkpoint(folder: Path, checkpoint: Checkpoint, half: bool) -> None:
    """Write weights, configuration and a model card, and tell what was written on stdout.

    Raises:
        InputError: if the folder cannot be written.
    """
    from diffwave.checkpoint.card import model_card
    from diffwave.checkpoint.folder import CONFIG_NAME, WEIGHTS_NAME, save_checkpoint
    from diffwave.files import write_text

    try:
        save_checkpoint(folder, checkpoint, half)
        write_text(folder / CARD_NAME, model_card(checkpoint, folder.resolve().name))
    except OSError as error:
        raise InputError(f"--output {folder}: expected a folder that can be written; {error}") from None
    _tell(folder, (WEIGHTS_NAME, CONFIG_NAME, CARD_NAME))


def _tell(folder: Path, names: Sequence[str]) -> None:
    size = sum((folder / name).stat().st_size for name in names)
    print(f"{folder}: {', '.join(names)}, {size / 2**20:.2f} MiB")


def _main_onnx(options: argparse.Namespace) -> int:
    """Write the graphs and the configuration."""
    from diffwave.checkpoint.folder import CONFIG_NAME, WEIGHTS_NAME, checkpoint_folder, load_checkpoint
    from diffwave.interop.onnx_export import export_onnx
    from diffwave.interop.onnx_names import CONDITIONER_NAME, OPSET, REFINER_NAME, STEP_NAME

    if options.half:
        raise InputError("--half: expected --to safetensors, for ONNX files are in float32; got --to onnx")
    if options.license is not None:
        raise InputError("--license: expected --to safetensors, for ONNX files have no model card; got --to onnx")
    if (options.output / WEIGHTS_NAME).exists():
        raise InputError(f"--output {options.output}: expected a folder of its own; it holds {WEIGHTS_NAME}")
    names = (CONDITIONER_NAME, STEP_NAME, REFINER_NAME, CONFIG_NAME)
    check_output(options.output, names, options.force)
    _check_run(options.run_dir, CONFIG_NAME)
    checkpoint = load_checkpoint(checkpoint_folder(options.run_dir))
    checkpoint = dataclasses.replace(checkpoint, config=_with_sampling(checkpoint.config, options))
    try:
        difference = export_onnx(checkpoint, options.output, _say)
    except OSError as error:
        raise InputError(f"--output {options.output}: expected a folder that can be written; {error}") from None
    _tell(options.output, [name for name in names if (options.output / name).exists()])
    print(f"opset {OPSET}; largest difference of one step from PyTorch: {difference:.1e}")
    return 0


def _say(text: str) -> None:
    print(f"diffwave export: {text}", file=sys.stderr, flush=True)


def check_output(folder: Path, names: tuple[str, ...], force: bool) -> None:
    """Refuse to replace files that nobody said may be replaced."""
    there = [name for name in names if (folder / name).exists()]
    if there and not force:
        raise InputError(f"--output {folder} holds {', '.join(there)}; --force replaces it")


def _check_run(folder: Path, config_name: str) -> None:
    """Tell a run that has no checkpoint yet from a folder that is none."""
    from diffwave.training.record.history import HISTORY_NAME
    from diffwave.training.record.run_folder import LOG_NAME
    from diffwave.training.record.states import states

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
