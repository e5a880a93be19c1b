"""A training configuration out of YAML files and overrides: the only place that speaks hydra."""

from __future__ import annotations

import difflib
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import diffwave
from diffwave.config import ConfigError, TrainingConfig
from diffwave.config.document import from_dict

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
