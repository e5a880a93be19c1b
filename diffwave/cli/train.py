"""``diffwave train``: the only command that speaks hydra."""

from __future__ import annotations

import difflib
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import diffwave
from diffwave.cli.settings import table
from diffwave.config import ConfigError, TrainingConfig
from diffwave.document import from_dict, to_dict

if TYPE_CHECKING:
    from diffwave.training.trainer import Trainer


# Lines of hydra's and omegaconf's messages that help only a developer.
_NOISE = (
    "full_key:",
    "object_type=",
    "reference_type=",
    "Config search path:",
    "provider=",
    "See https:",
    "Set the environment variable",
)
_GROUPS = ("experiment", "model", "data")


def configs_folder() -> Path:
    """Where the YAML files are: inside an installed package, or beside it in a checkout."""
    package = Path(diffwave.__file__).parent
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "train.yaml").is_file():
            return folder
    raise ConfigError(f"expected configs/train.yaml in or beside {package}; the installation is incomplete")


def compose_config(overrides: list[str]) -> TrainingConfig:
    """Compose the YAML files and ``overrides`` and check them against the schema.

    Raises:
        ConfigError: for anything that does not fit; an unknown key comes with the nearest known one.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException

    schema = OmegaConf.structured(TrainingConfig)
    # Frozen dataclasses make read-only nodes; hydra has to write its overrides into them.
    _set_readonly(schema, None)
    ConfigStore.instance().store(name="schema", node=schema)
    try:
        with initialize_config_dir(str(configs_folder()), version_base="1.3"):
            composed = compose("train", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, schema, overrides)) from None
    return _to_dataclass(composed)


def _to_dataclass(composed: DictConfig) -> TrainingConfig:
    """Through our own strict conversion: hydra lets ``+key=value`` add what the schema does not know."""
    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from None
    assert isinstance(values, dict)
    return from_dict(TrainingConfig, {str(key): value for key, value in values.items()})


def _set_readonly(node: DictConfig, value: bool | None) -> None:
    OmegaConf.set_readonly(node, value)
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            _set_readonly(child, value)


def _explain(error: Exception, schema: DictConfig, overrides: list[str]) -> str:
    """One line, with the nearest known setting where a key is unknown."""
    known = _dotted(schema)
    for override in overrides:
        key = override.lstrip("+~").split("=")[0]
        if key and "@" not in key and key not in known and key not in _GROUPS:
            near = _initialled(key, known) or difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            return f"unknown setting {key}{hint}"
    # The message says where; the cause, if there is one, says what.
    lines = [*str(error).splitlines(), *str(error.__cause__ or "").splitlines()]
    if "LexerNoViableAlt" in str(error) or "mismatched input" in str(error):
        lines.append("- quote values with letters that hydra uses itself: 'run_dir=\"a=b\"'")
    useful = [line.strip() for line in lines if line.strip() and not line.strip().startswith(_NOISE)]
    return " ".join(useful)


def _initialled(key: str, known: list[str]) -> list[str]:
    """Settings that ``key`` abbreviates: ``train.lr`` is ``train.learning_rate``."""
    group, _, short = key.rpartition(".")
    return [
        name
        for name in known
        if name.rpartition(".")[0] == group
        and "_" in name.rpartition(".")[2]
        and "".join(word[0] for word in name.rpartition(".")[2].split("_")) == short
    ]


def _dotted(node: DictConfig, prefix: str = "") -> list[str]:
    """Every setting of the schema as a dotted name."""
    names = []
    for key in node:
        child = node._get_node(key)
        name = prefix + str(key)
        names.append(name)
        if isinstance(child, DictConfig):
            names.extend(_dotted(child, name + "."))
    return names


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
    from diffwave.training.processes import Processes
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
