"""Which exceptions are a user's mistake, to be told in one line."""

from __future__ import annotations


def user_errors() -> tuple[type[Exception], ...]:
    """Exceptions whose message is written for the user; anything else is a defect and keeps its traceback."""
    from diffwave.audio import AudioError
    from diffwave.checkpoint import CheckpointError
    from diffwave.cli.plan import InputError
    from diffwave.config import ConfigError
    from diffwave.devices import DeviceError

    return (AudioError, CheckpointError, ConfigError, DeviceError, ImportError, InputError)
