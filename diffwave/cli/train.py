"""``diffwave train``: the only command that speaks hydra."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from diffwave.cli.train_settings import table
from diffwave.config.composing import compose_config, configs_folder
from diffwave.config.document import to_dict

if TYPE_CHECKING:
    from diffwave.training.trainer import Trainer


USAGE = """usage: diffwave train [--show] [experiment=NAME] [SETTING=VALUE ...]
       torchrun --nproc-per-node N -m diffwave train [experiment=NAME] [SETTING=VALUE ...]

Train a model, or go on with the run in run_dir. Settings are hydra overrides:

  diffwave train experiment=debug_cpu data.root=FOLDER run_dir=runs/try
  diffwave train experiment=librispeech_base data.manifest=train.jsonl data.validation_manifest=val.jsonl

data.root is a LibriSpeech root (its train-* folders are used) or any folder tree of audio; a manifest is what
recipes/librispeech/prepare.py writes. In run_dir: history.jsonl, train.log, tensorboard/, outputs/, the weights
(model.safetensors, config.json; the best ones in best/), and training-*.pt to go on from.
"""


def main(arguments: list[str]) -> int:
    """Train, or go on with a run that was stopped."""
    if not arguments or arguments[0] in ("-h", "--help"):
        names = sorted(path.stem for path in (configs_folder() / "experiment").glob("*.yaml"))
        print(USAGE + "\nexperiments: " + ", ".join(names))
        print(
            "\nsettings, with their defaults (an experiment changes some of them: --show prints what holds):\n"
            + table()
        )
        return 0 if arguments else 2
    config = compose_config([argument for argument in arguments if argument != "--show"])
    if "--show" in arguments:
        print(OmegaConf.to_yaml(OmegaConf.create(to_dict(config))), end="")
        return 0
    from diffwave.training.distributed import Processes
    from diffwave.training.trainer import Trainer

    _log_to_stderr()
    processes = Processes.join(config.train.device)
    try:
        trainer = Trainer(config, processes)
        _stop_on_signals(trainer)
        trainer.run()
    finally:
        processes.leave()
    return 0


def _log_to_stderr() -> None:
    """Plain lines; of several processes only the first tells how it goes, the others only what is wrong."""
    rank = int(os.environ.get("RANK", "0"))
    prefix = f"[process {rank}] " if rank else ""
    level = logging.WARNING if rank else logging.INFO
    logging.basicConfig(level=level, format=f"%(asctime)s {prefix}%(message)s", datefmt="%H:%M:%S")


def _stop_on_signals(trainer: Trainer) -> None:
    """Ctrl-C, or a scheduler's SIGTERM, ends the run after the current iteration; a second Ctrl-C ends it at once."""

    def stop(number: int, _: object) -> None:
        trainer.stop()
        # A scheduler and torchrun both send SIGTERM: a second one is no impatience.
        if number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
