"""A run directory becomes a checkpoint folder to give away, or ONNX files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from diffwave.checkpoint.folder import CONFIG_NAME, WEIGHTS_NAME, Checkpoint, checkpoint_folder, load_checkpoint
from diffwave.checkpoint.publishing import Published, check_output, publish, unwritable
from diffwave.config import AS_TRAINED, MelConvention, ModelConfig, SynthesisOptions
from diffwave.errors import InputError
from diffwave.interop.onnx_export import export_onnx
from diffwave.interop.onnx_names import CONDITIONER_NAME, REFINER_NAME, STEP_NAME
from diffwave.training.record.history import HISTORY_NAME
from diffwave.training.record.run_folder import LOG_NAME
from diffwave.training.record.states import states


@dataclass(frozen=True)
class CheckpointExport:
    """What to export, and which defaults of sampling to write into it.

    Args:
        run_dir: of a training, its ``best``, or a checkpoint.
        output: folder to write.
        half: store the weights in float16.
        options: defaults of synthesis; None leaves the checkpoint's.
        speaks: convention of the mels that it is to speak by default; None leaves the checkpoint's.
        license: of the weights, for the model card; None leaves what the checkpoint says.
        force: whether files that are there may be replaced.
    """

    run_dir: Path
    output: Path
    half: bool = False
    options: SynthesisOptions = AS_TRAINED
    speaks: MelConvention | None = None
    license: str | None = None
    force: bool = False


def export_checkpoint(wanted: CheckpointExport) -> Published:
    """Write the averaged weights, the configuration with the sampling defaults asked for, and a model card.

    Raises:
        InputError: if the output or what was asked for does not do.
        CheckpointError: if the run's checkpoint cannot be read.
    """
    check_output(wanted.output, wanted.force)
    checkpoint = _load(wanted)
    if wanted.license is not None:
        story = {**checkpoint.training, "license": wanted.license}
        checkpoint = dataclasses.replace(checkpoint, training=story)
    return publish(wanted.output, checkpoint, wanted.half)


def export_graphs(wanted: CheckpointExport, tell: Callable[[str], None]) -> tuple[Published, float]:
    """Write the ONNX graphs and the configuration.

    Args:
        wanted: what to export.
        tell: called with what is being done.

    Returns:
        What was written, and the largest difference of one step from PyTorch.

    Raises:
        InputError, CheckpointError: as :func:`export_checkpoint`.
    """
    output = wanted.output
    if wanted.half:
        raise InputError("--half: expected --to safetensors, for ONNX files are in float32; got --to onnx")
    if wanted.license is not None:
        raise InputError("--license: expected --to safetensors, for ONNX files have no model card; got --to onnx")
    if (output / WEIGHTS_NAME).exists():
        raise InputError(f"--output {output}: expected a folder of its own; it holds {WEIGHTS_NAME}")
    names = (CONDITIONER_NAME, STEP_NAME, REFINER_NAME, CONFIG_NAME)
    check_output(output, wanted.force, names)
    try:
        difference = export_onnx(_load(wanted), output, tell)
    except OSError as error:
        raise unwritable(output, error) from None
    return Published(output, [name for name in names if (output / name).exists()]), difference


def _load(wanted: CheckpointExport) -> Checkpoint:
    """The checkpoint, with the sampling defaults that were asked for."""
    _check_run(wanted.run_dir)
    checkpoint = load_checkpoint(checkpoint_folder(wanted.run_dir))
    config, speaks = _with_sampling(checkpoint.config, wanted), wanted.speaks or checkpoint.speaks
    return dataclasses.replace(checkpoint, config=config, speaks=speaks)


def _check_run(folder: Path) -> None:
    """Tell a run that has no checkpoint yet from a folder that is none."""
    is_run = states(folder) or any((folder / name).exists() for name in (HISTORY_NAME, LOG_NAME))
    if is_run and not (folder / CONFIG_NAME).exists():
        raise InputError(
            f"{folder}: expected a run with a checkpoint; it has none yet - the first comes after "
            "train.checkpoint_every iterations, and at the end"
        )


def _with_sampling(config: ModelConfig, wanted: CheckpointExport) -> ModelConfig:
    trained, steps = config.diffusion.steps, wanted.options.steps
    if steps is not None and not (isinstance(steps, int) and 1 <= steps <= trained):
        raise InputError(f"--steps: expected 1 to {trained}, the steps it was trained on; got {steps}")
    return dataclasses.replace(config, sampling=wanted.options.as_defaults(config.sampling))
