"""``diffwave export``: a run directory becomes a checkpoint folder to give away, with a model card, or ONNX files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from diffwave.cli.vocoder_arguments import add_mel, options_of
from diffwave.config.sampling import PLACES, SAMPLERS
from diffwave.terminal.arguments import CommandParser, count_argument


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
    add_mel(result, "convention of the mels that it speaks unless another is asked for (default: as it was)")
    terms = "of the weights, such as apache-2.0, for the model card (default: what the checkpoint says, if anything)"
    result.add_argument("--license", metavar="NAME", help=terms)
    result.add_argument("--force", action="store_true", help="replace files that exist")
    return result


def main(arguments: list[str]) -> int:
    """Write a checkpoint folder or ONNX files, and tell what was written."""
    options = parser().parse_args(arguments)
    from diffwave.interop.onnx_names import OPSET
    from diffwave.training.record.run_export import CheckpointExport, export_checkpoint, export_graphs

    wanted = CheckpointExport(
        options.run_dir,
        options.output,
        options.half,
        options_of(options),
        options.mel,
        options.license,
        options.force,
    )
    if options.to == "onnx":
        written, difference = export_graphs(wanted, _say)
        print(written.describe())
        print(f"opset {OPSET}; largest difference of one step from PyTorch: {difference:.1e}")
    else:
        print(export_checkpoint(wanted).describe())
    return 0


def _say(text: str) -> None:
    print(f"diffwave export: {text}", file=sys.stderr, flush=True)
