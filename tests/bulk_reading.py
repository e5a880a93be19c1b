"""Readers of inputs for tests of the corpus command; by name, since workers import them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from diffwave.rendering.prepared_input import read_input

PAUSE = 0.2  # s


def read_slowly(vocoder: Any, path: Path) -> Any:
    """Take as long as a larger model would, so that a worker is killed in the middle of something."""
    time.sleep(PAUSE)
    return read_input(vocoder, path)


def read_and_die(vocoder: Any, path: Path) -> Any:
    """End the process that reads what is called so, as a damaged file may end a decoder."""
    if path.stem == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return read_input(vocoder, path)
