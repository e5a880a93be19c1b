"""The resumable state of a training run: ``training-*.pt`` files, written whole, read without pickle."""

from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from diffwave.config import ConfigError
from diffwave.files import write_bytes
from diffwave.training.distributed import Processes
from diffwave.training.record.progress import Progress

log = logging.getLogger(__name__)

_UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
_NAME = re.compile(r"training-(\d+)\.pt")


@contextlib.contextmanager
def exclusive(run_dir: Path) -> Iterator[None]:
    """Keep a second training out of a run directory; the lock ends with the process, however it ends.

    Raises:
        ConfigError: if another process trains there.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"run_dir={run_dir}: expected a folder that can be written; {error.strerror}") from None
    try:
        lock = (run_dir / "lock").open("w")
    except OSError as error:
        raise ConfigError(f"run_dir={run_dir}: expected a folder that can be written; {error.strerror}") from None
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"run_dir={run_dir}: expected no other training there; one is running") from None
        yield


def save_state(run_dir: Path, iteration: int, state: dict[str, Any]) -> Path:
    """Write ``training-<iteration>.pt`` atomically and return its path."""
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / f"training-{iteration:08d}.pt"
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getbuffer())
    return path


def states(run_dir: Path) -> list[Path]:
    """State files of a run, oldest first."""
    found = [path for path in run_dir.glob("training-*.pt") if _NAME.fullmatch(path.name) and path.is_file()]
    return sorted(found, key=_number)


def _number(path: Path) -> int:
    """Iteration of a state, by its name."""
    return int(path.stem.split("-")[1])


def prune_states(run_dir: Path, iteration: int, keep: int) -> None:
    """Delete all but the newest ``keep`` states up to ``iteration``, which has just been written.

    Later ones are those that could not be read when the run was taken up; they must not displace good ones.
    """
    numbered = {path: _number(path) for path in states(run_dir)}
    good = [path for path, number in numbered.items() if number <= iteration]
    for path in {*numbered} - {*good[-keep:]}:
        path.unlink()


def find_state(run_dir: Path, model: dict[str, Any], processes: Processes) -> dict[str, Any] | None:
    """The newest state that process 0 can read, in every process; None if there is none.

    Raises:
        ConfigError: see :func:`newest_state`.
    """
    found = newest_state(run_dir, model) if processes.first else None
    if processes.count == 1:
        return found
    buffer = io.BytesIO()
    if found is not None:
        torch.save(found, buffer)
    data = processes.broadcast(buffer.getvalue())
    if not data:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def newest_state(run_dir: Path, model: dict[str, Any]) -> dict[str, Any] | None:
    """Read the newest state that can be read, or None if the run has none.

    Args:
        run_dir: of the run.
        model: the model's settings; network, mel and diffusion must equal those of the run.

    Raises:
        ConfigError: if the run was of another architecture, or none of its states can be read.
    """
    for path in reversed(states(run_dir)):
        try:
            state = _read(path)
        except _UNREADABLE as error:
            reason = (str(error) or type(error).__name__).splitlines()[0][:80]
            log.warning("%s cannot be read (%s); trying the one before", path, reason)
            continue
        found = state["config"]["model"]
        # How a model is sampled may change between two runs; what it is may not.
        for part in ("network", "mel", "diffusion"):
            if found.get(part) != model[part]:
                difference = _difference(found.get(part, {}), model[part])
                raise ConfigError(f"run_dir={run_dir} holds a run with another model.{part}: {difference}")
        return state
    if states(run_dir):
        raise ConfigError(
            f"run_dir={run_dir}: expected a readable training-*.pt; none of them is - delete them to begin anew, or "
            "choose another run_dir"
        )
    return None


def _read(path: Path) -> dict[str, Any]:
    """A state with everything that a run needs to go on.

    Raises:
        Exception: one of ``_UNREADABLE``.
    """
    # PyTorch reads the archive without looking at its checksums.
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"{damaged} is damaged")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    _bring_up_to_date(state)
    for part in ("network", "average", "optimizer"):
        if not isinstance(state[part], dict):
            raise TypeError(f"{part} is missing")
    Progress.from_state(state["progress"])
    state["config"]["model"].items()
    return state


def _bring_up_to_date(state: dict[str, Any]) -> None:
    """Earlier states had the progress beside the weights, and neither window nor fingerprint of the data."""
    if "progress" not in state:
        iteration = int(state["iteration"])
        crops = iteration * int(state["config"]["train"]["batch_size"])
        state["progress"] = Progress(iteration, crops, float(state["seconds"])).as_state()
    state.setdefault("data", "")


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return ", ".join(f"{key} was {old.get(key)!r}, now {new.get(key)!r}" for key in keys)
