"""``diffwave train-refiner``: a checkpoint gets a refiner, which learns from what the checkpoint says."""

from __future__ import annotations

import argparse
import logging

from diffwave.cli.vocoder_arguments import add_checkpoint
from diffwave.terminal.arguments import CommandParser, count_argument, device_argument, path_argument, seconds_argument

_DESCRIPTION = """Teach a checkpoint's refiner which finer mel recordings had, from what the checkpoint says of them.

The checkpoint, which must use mel consistency, speaks a crop of each training utterance; then the refiner learns, on
the CPU. OUTPUT becomes the same checkpoint with a refiner and the model card; it may be the checkpoint itself, with
--force.

Data as of diffwave train, such as data=librispeech data.root=data/LibriSpeech."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(
        prog="diffwave train-refiner", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = result.add_argument
    add("data", nargs="+", metavar="SETTING=VALUE", help="which data, as of diffwave train")
    add_checkpoint(result)
    add("--output", "-o", type=path_argument, required=True, metavar="DIR")
    add("--iterations", type=count_argument, default=9000, metavar="N", help="default: 9000")
    crops = "utterances to speak, at most; each second takes 0.4 MB of memory (default: 4000)"
    add("--crops", type=count_argument, default=4000, metavar="N", help=crops)
    add("--crop-seconds", type=seconds_argument, default=4.0, metavar="S", help="of each (default: 4)")
    add("--channels", type=count_argument, default=256, metavar="N", help="of the refiner (default: 256)")
    add("--hidden", type=count_argument, default=384, metavar="N", help="in its blocks (default: 384)")
    add("--dilations", type=count_argument, nargs="+", default=[1, 1, 2], metavar="N", help="default: 1 1 2")
    add("--refinements", type=count_argument, default=1, metavar="N", help="rounds in synthesis (default: 1)")
    add("--seed", type=count_argument, default=0, help="default: 0")
    add("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="of the synthesis")
    add("--half", action="store_true", help="store the weights in float16")
    add("--force", action="store_true", help="replace files that exist")
    return result


def main(arguments: list[str]) -> int:
    """Speak, learn, write."""
    options = parser().parse_args(arguments)
    from diffwave.config import RefinerConfig
    from diffwave.config.composing import compose_config
    from diffwave.training.refined_checkpoint import RefinerRun, add_refiner
    from diffwave.training.refiner_training import RefinerTraining

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    run = RefinerRun(
        checkpoint=options.checkpoint,
        output=options.output,
        data=compose_config(options.data).data,
        shape=RefinerConfig(options.channels, options.hidden, options.dilations),
        training=RefinerTraining(
            iterations=options.iterations, crops=options.crops, crop_seconds=options.crop_seconds, seed=options.seed
        ),
        refinements=options.refinements,
        device=options.device,
        half=options.half,
        force=options.force,
    )
    before, after = add_refiner(run)
    print(f"{options.output}: finer mels are off by {after:.4f} nat, {before:.4f} without the refiner")
    return 0
