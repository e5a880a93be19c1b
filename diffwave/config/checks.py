"""How a setting that cannot work is refused: one line that says what was expected and what came."""

from __future__ import annotations

from collections.abc import Collection

from diffwave.errors import UserError


class ConfigError(UserError, ValueError):
    """A setting that cannot work, in words for the person who wrote it."""


def require(condition: bool, message: str) -> None:
    """Raise ``ConfigError`` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise ConfigError(message)


def one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Raise ``ConfigError`` unless ``value`` is one of ``allowed``."""
    require(value in allowed, f"{name} must be one of {', '.join(allowed)}; got {value!r}")
