"""``diffwave import``: a checkpoint of another project becomes one of this project."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from diffwave.terminal.arguments import CommandParser, path_argument

if TYPE_CHECKING:
    from diffwave.config import ModelConfig

_SOURCES = ("lmnt", "speechbrain")
_DESCRIPTION = """Turn a checkpoint of another project into a checkpoint folder, which all commands take from then on.

lmnt: lmnt-com/diffwave, weights.pt or the folder that it lies in. speechbrain: diffwave.ckpt of SpeechBrain's DiffWave,
with hyperparams.yaml beside it if there is one. Nothing in the file is run. The outputs are the original's for the same
mel, noise and schedule; mels are of the convention that the model was trained with."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave import", description=_DESCRIPTION)
    add = result.add_argument
    add("path", type=path_argument, metavar="PATH", help="the file, or its folder")
    add("--from", dest="source", choices=_SOURCES, required=True, help="the project that it comes from")
    add("--output", "-o", type=path_argument, required=True, metavar="DIR", help="checkpoint folder to write")
    add("--half", action="store_true", help="store the weights in float16")
    add("--mel", metavar="PRESET", help="the mel convention, if it is not the one that is found")
    setting = "replace a setting of config.json, such as diffusion.beta_end=0.02 or mel.f_max=7600; may be repeated"
    add("--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help=setting)
    add("--force", action="store_true", help="replace files that exist")
    return result


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE; got {text!r}")
    return name, value


def main(arguments: list[str]) -> int:
    """Write weights, configuration and a model card; what was assumed goes to stderr."""
    options = parser().parse_args(arguments)
    from diffwave.checkpoint.publishing import check_output, publish
    from diffwave.errors import one_line
    from diffwave.interop.importing import import_checkpoint

    check_output(options.output, options.force)
    imported = import_checkpoint(options.path, options.source, options.mel, options.set)
    for note in imported.notes:
        print(f"diffwave import: {one_line(note)}", file=sys.stderr)
    print(publish(options.output, imported.checkpoint, options.half).describe())
    print(_summary(imported.checkpoint.config))
    return 0


def _summary(config: ModelConfig) -> str:
    """What a person compares with what they know of the model."""
    network, diffusion = config.network, config.diffusion
    return (
        f"{network.residual_layers} layers of {network.residual_channels} channels, dilation cycle "
        f"{network.dilation_cycle}; {diffusion.steps} trained steps, sampled in {config.sampling.steps}; "
        f"mel: {config.mel.describe()}"
    )
