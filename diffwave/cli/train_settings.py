"""The settings of a training run as a table: names, defaults, and what they mean."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from diffwave.config import TrainingConfig

_WIDTH = 100
# An entry of a docstring's Args: one name or several, a colon, and text that goes on in deeper lines.
_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): (.*(?:\n {6,}.*)*)", re.MULTILINE)


def table() -> str:
    """Every setting with its default and its meaning, in the order of the schema."""
    lines: list[str] = []
    for name, default, meaning in settings(TrainingConfig()):
        lines.append(f"  {name}={default}")
        lines += textwrap.wrap(meaning, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


def settings(config: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Name, default and meaning of each setting below a dataclass; the meaning is that of the class's docstring."""
    meanings = _meanings(type(config))
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from settings(value, f"{name}.")
        else:
            yield name, _text(value), meanings.get(field.name, "")


def _meanings(cls: type) -> dict[str, str]:
    document = inspect.getdoc(cls) or ""
    found: dict[str, str] = {}
    for names, text in _ENTRY.findall(document.partition("Args:")[2]):
        meaning = " ".join(text.split()).replace("``", "")
        found |= dict.fromkeys(names.split(", "), meaning)
    return found


def _text(value: Any) -> str:
    """As it would be typed."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value == "" else str(value).replace(" ", "")
