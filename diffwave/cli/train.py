"""``diffwave train``: the only command that speaks hydra."""

from __future__ import annotations

import difflib
import logging
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import diffwave
from diffwave.config import ConfigError, TrainingConfig


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
        raise ConfigError(_explain(str(error), schema, overrides)) from None
    return _to_dataclass(composed)


def _to_dataclass(composed: DictConfig) -> TrainingConfig:
    try:
        config = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from None
    assert isinstance(config, TrainingConfig)
    return config


def _set_readonly(node: DictConfig, value: bool | None) -> None:
    OmegaConf.set_readonly(node, value)
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            _set_readonly(child, value)


def _explain(message: str, schema: DictConfig, overrides: list[str]) -> str:
    """One line, with the nearest known setting where a key is unknown."""
    first = message.splitlines()[0]
    known = _dotted(schema)
    for override in overrides:
        key = override.lstrip("+~").split("=")[0]
        if key and "@" not in key and key not in known and key not in ("experiment", "model", "data"):
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            return f"unknown setting {key}{hint}"
    detail = next((line.strip() for line in message.splitlines()[1:] if "full_key" in line), "")
    return f"{first} {detail}".strip()


def _dotted(node: DictConfig, prefix: str = "") -> list[str]:
    """Every setting of the schema as a dotted name."""
    names = []
    for key in node:
        child = node._get_node(key)
        name = f"{prefix}{key}"
        names.append(name)
        if isinstance(child, DictConfig):
            names.extend(_dotted(child, name + "."))
    return names


def main(arguments: list[str]) -> int:
    """Train, or go on with a run that was stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    from diffwave.training import Trainer

    config = compose_config(arguments)
    Trainer(config).run()
    return 0
