"""One program at a time in a folder."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from diffwave.config import ConfigError

_NAME = ".lock"


@contextlib.contextmanager
def alone_in(folder: Path, what: str = "preparation") -> Iterator[None]:
    """Hold the lock of a folder; a process that dies, however it does, lets go of it.

    Args:
        folder: which is there.
        what: is done there, for the message.

    Raises:
        ConfigError: if another process holds it.
        OSError: if the folder cannot be written.
    """
    path = folder / _NAME
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{folder}: expected to be alone there; another {what} is at work") from None
        except OSError:
            pass  # some network file systems have no locks
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
