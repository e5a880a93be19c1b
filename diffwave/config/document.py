"""Between the dataclasses of ``config`` and plain documents (JSON, YAML), strictly."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from typing import Any, TypeVar

from diffwave.config.checks import ConfigError, require

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """Return a dataclass of this module as plain dictionaries and lists, ready for JSON."""
    return dataclasses.asdict(config)


def from_dict(cls: type[T], values: dict[str, Any], path: str = "") -> T:
    """Build dataclass ``cls`` from nested dictionaries, strictly.

    Args:
        cls: a dataclass of this module.
        values: settings; a missing key takes its default.
        path: dotted name of ``values``, for messages.

    Raises:
        ConfigError: for an unknown key (the message gives the nearest known one) or a value of the wrong type.
    """
    require(isinstance(values, dict), f"{path or cls.__name__}: expected settings in braces; got {values!r}")
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            hint = f"; did you mean {path}{near[0]}?" if near else f"; known: {', '.join(hints)}"
            raise ConfigError(f"unknown setting {path}{key}{hint}")
    return cls(**{key: _convert(hints[key], value, path + key) for key, value in values.items()})


def _convert(hint: Any, value: Any, name: str) -> Any:
    """Check one value of a JSON document against the type in the schema."""
    if dataclasses.is_dataclass(hint):
        require(isinstance(value, dict), f"{name}: expected settings in braces; got {value!r}")
        return from_dict(typing.cast(type, hint), value, name + ".")
    origin = typing.get_origin(hint)
    if origin in (list, tuple):
        require(isinstance(value, list | tuple), f"{name}: expected a list; got {value!r}")
        inner = typing.get_args(hint)[0]
        return [_convert(inner, item, f"{name}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        require(isinstance(value, dict), f"{name}: expected settings in braces; got {value!r}")
        _, inner = typing.get_args(hint)
        return {str(key): _convert(inner, item, f"{name}.{key}") for key, item in value.items()}
    assert not isinstance(hint, types.UnionType), "the schema has no unions"
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # bool is a subclass of int: true is not a number of layers.
    matches = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    require(matches, f"{name}: expected {hint.__name__}; got {value!r}")
    return value
