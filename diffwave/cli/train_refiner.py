"""``diffwave train-refiner``: a checkpoint gets a refiner, which learns from what the checkpoint says."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from typing import TYPE_CHECKING

from diffwave.cli.arguments import add_checkpoint
from diffwave.terminal.arguments import CommandParser, count_argument, device_argument, path_argument, seconds_argument

if TYPE_CHECKING:
    from diffwave.config import ModelConfig
    from diffwave.corpus.manifest import Utterance
    from diffwave.training.refiner_training import RefinerLearner, RefinerTraining, Spoken
    from diffwave.vocoder import Vocoder

log = logging.getLogger(__name__)

_DESCRIPTION = """Teach a checkpoint's refiner which finer mel recordings had, from what the checkpoint says of them.

The checkpoint, which must use mel consistency, speaks a crop of each training utterance; then the refiner learns, on
the CPU. OUTPUT becomes the same checkpoint with a refiner and the model card; it may be the checkpoint itself, with
--force.

Data as of diffwave train, such as data=librispeech data.root=data/LibriSpeech."""
_LOG_EVERY = 500
_VALIDATION = 40  # crops of held-out speakers


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
    from diffwave.checkpoint.card import model_card
    from diffwave.checkpoint.folder import (
        CONFIG_NAME,
        WEIGHTS_NAME,
        checkpoint_folder,
        load_checkpoint,
        save_checkpoint,
    )
    from diffwave.cli.export import CARD_NAME, check_output
    from diffwave.config import RefinerConfig
    from diffwave.config.composing import compose_config
    from diffwave.corpus.selection import spread, training_and_validation
    from diffwave.errors import InputError, reason
    from diffwave.files import try_out, write_text
    from diffwave.training.refiner_training import RefinerTraining, long_enough, with_shape
    from diffwave.vocoder import Vocoder

    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    check_output(options.output, (WEIGHTS_NAME, CONFIG_NAME, CARD_NAME), options.force)
    checkpoint = load_checkpoint(checkpoint_folder(options.checkpoint))
    shape = RefinerConfig(options.channels, options.hidden, options.dilations)
    config = with_shape(checkpoint.config, shape, options.refinements)
    if not config.sampling.consistency_iterations:
        raise InputError(
            f"--checkpoint {options.checkpoint}: expected one with mel consistency, for a refiner works after it; got "
            "sampling.consistency_iterations=0 (diffwave export --consistency N sets it)"
        )
    data = compose_config(options.data).data
    training, validation = training_and_validation(data, config.mel.sample_rate)
    settings = RefinerTraining(
        iterations=options.iterations, crops=options.crops, crop_seconds=options.crop_seconds, seed=options.seed
    )
    # What cannot work is said before the hours that speaking may take.
    taught = long_enough("training", spread(training), config.mel, settings)
    tested = long_enough("validation", spread(validation), config.mel, settings)[:_VALIDATION]
    vocoder = Vocoder(checkpoint, options.device)
    try_out(options.output)
    spoken = _speak(vocoder, taught, settings)
    heldout = _speak(vocoder, tested, settings)
    learner = _learn(config, spoken, heldout, settings)
    before, after = learner.errors()
    story = {
        **dataclasses.asdict(settings),
        "crops": len(spoken.wav),
        "error_before": round(before, 4),
        "error_after": round(after, 4),
    }
    result = checkpoint.with_refiner(learner.result, config)
    result = dataclasses.replace(result, training={**result.training, "refiner": story})
    try:
        save_checkpoint(options.output, result, options.half)
        write_text(options.output / CARD_NAME, model_card(result, options.output.resolve().name))
    except OSError as error:
        raise InputError(f"--output {options.output}: expected a folder that can be written; {reason(error)}") from None
    print(f"{options.output}: finer mels are off by {after:.4f} nat, {before:.4f} without the refiner")
    return 0


def _speak(vocoder: Vocoder, utterances: list[Utterance], settings: RefinerTraining) -> Spoken:
    from tqdm import tqdm

    from diffwave.training.refiner_training import speak

    log.info("speaking %d crops of %.1f s", len(utterances), settings.crop_seconds)
    with tqdm(total=len(utterances), unit="crop", disable=None, dynamic_ncols=True, file=sys.stderr) as bar:
        return speak(vocoder, utterances, settings, lambda: bar.update() and None)


def _learn(config: ModelConfig, spoken: Spoken, heldout: Spoken, settings: RefinerTraining) -> RefinerLearner:
    from diffwave.training.record.history import progress_bar
    from diffwave.training.refiner_training import RefinerLearner

    learner = RefinerLearner(config, spoken, heldout, settings)
    with progress_bar(0, settings.iterations, True) as bar:
        for iteration, loss in learner.run():
            bar.update()
            if iteration % _LOG_EVERY == 0 or iteration == settings.iterations:
                before, after = learner.errors()
                log.info("iteration %d loss %.4f error %.4f (before: %.4f)", iteration, loss, after, before)
    return learner
