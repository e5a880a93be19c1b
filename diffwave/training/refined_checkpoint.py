"""A checkpoint gets a refiner, which learns from what the checkpoint says: from data to the folder that is written."""

from __future__ import annotations

import dataclasses
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from diffwave.checkpoint.folder import checkpoint_folder, load_checkpoint
from diffwave.checkpoint.publishing import check_output, publish
from diffwave.config import DataConfig, ModelConfig, RefinerConfig
from diffwave.corpus.manifest import Utterance
from diffwave.corpus.selection import spread, training_and_validation
from diffwave.errors import InputError
from diffwave.files import try_out
from diffwave.training.record.history import progress_bar
from diffwave.training.refiner_training import RefinerLearner, RefinerTraining, Spoken, long_enough, speak, with_shape
from diffwave.vocoder import Vocoder

log = logging.getLogger(__name__)

_LOG_EVERY = 500
_VALIDATION = 40  # crops of held-out speakers


@dataclass(frozen=True)
class RefinerRun:
    """Which checkpoint gets which refiner.

    Args:
        checkpoint: a folder, or the name of a packaged one.
        output: folder to write; it may be the checkpoint itself.
        data: what the refiner learns from.
        shape: of the refiner.
        training: how it learns.
        refinements: rounds in synthesis.
        device: of the synthesis.
        half: store the weights in float16.
        force: whether files that are there may be replaced.
    """

    checkpoint: str
    output: Path
    data: DataConfig
    shape: RefinerConfig
    training: RefinerTraining
    refinements: int = 1
    device: str = "auto"
    half: bool = False
    force: bool = False


def add_refiner(run: RefinerRun) -> tuple[float, float]:
    """Speak, learn, write; progress is logged.

    Returns:
        How far finer mels of held-out speakers are off in nat, without the refiner and with it.

    Raises:
        InputError: if the checkpoint uses no mel consistency, or the output cannot be written.
        TrainingError: if no utterance is long enough.
    """
    check_output(run.output, run.force)
    checkpoint = load_checkpoint(checkpoint_folder(run.checkpoint))
    config = with_shape(checkpoint.config, run.shape, run.refinements)
    if not config.sampling.consistency_iterations:
        raise InputError(
            f"--checkpoint {run.checkpoint}: expected one with mel consistency, for a refiner works after it; got "
            "sampling.consistency_iterations=0 (diffwave export --consistency N sets it)"
        )
    training, validation = training_and_validation(run.data, config.mel.sample_rate)
    # What cannot work is said before the hours that speaking may take.
    taught = long_enough("training", spread(training), config.mel, run.training)
    tested = long_enough("validation", spread(validation), config.mel, run.training)[:_VALIDATION]
    vocoder = Vocoder(checkpoint, run.device)
    try_out(run.output)
    spoken = _speak(vocoder, taught, run.training)
    learner = _learn(config, spoken, _speak(vocoder, tested, run.training), run.training)
    before, after = learner.errors()
    story = {
        **dataclasses.asdict(run.training),
        "crops": len(spoken.wav),
        "error_before": round(before, 4),
        "error_after": round(after, 4),
    }
    result = checkpoint.with_refiner(learner.result, config)
    publish(run.output, dataclasses.replace(result, training={**result.training, "refiner": story}), run.half)
    return before, after


def _speak(vocoder: Vocoder, utterances: list[Utterance], settings: RefinerTraining) -> Spoken:
    log.info("speaking %d crops of %.1f s", len(utterances), settings.crop_seconds)
    with tqdm(total=len(utterances), unit="crop", disable=None, dynamic_ncols=True, file=sys.stderr) as bar:
        return speak(vocoder, utterances, settings, lambda: bar.update() and None)


def _learn(config: ModelConfig, spoken: Spoken, heldout: Spoken, settings: RefinerTraining) -> RefinerLearner:
    learner = RefinerLearner(config, spoken, heldout, settings)
    with progress_bar(0, settings.iterations, True) as bar:
        for iteration, loss in learner.run():
            bar.update()
            if iteration % _LOG_EVERY == 0 or iteration == settings.iterations:
                before, after = learner.errors()
                log.info("iteration %d loss %.4f error %.4f (before: %.4f)", iteration, loss, after, before)
    return learner
