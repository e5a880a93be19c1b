"""What is told of a run: ``history.jsonl`` for machines, ``train.log`` for people, events for TensorBoard."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffwave.files import write_text
from diffwave.training.outputs.output import Output
from diffwave.training.record.board import Board

log = logging.getLogger(__name__)

HISTORY_NAME = "history.jsonl"
_FOR_MACHINES = ("loss_by_noise", "samples_per_second", "memory_mib")


class History:
    """Lines of one run, from the iteration at which it is taken up.

    Args:
        run_dir: of the run.
        iteration: of the state that was taken up; what came later, before a crash, is dropped: it comes again.
        tensorboard: write event files too.
        again: the outputs of that iteration will be made again.

    Raises:
        OSError: if the folder cannot be written.
    """

    def __init__(self, run_dir: Path, iteration: int, tensorboard: bool, again: bool = False) -> None:
        self.path = run_dir / HISTORY_NAME
        forget_after(self.path, iteration, again)
        self.board = Board(run_dir / "tensorboard", iteration + 1) if tensorboard else None

    def record(self, row: dict[str, Any]) -> None:
        """Write one row of figures."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        log.info("%s", describe(row))
        if self.board:
            self.board.scalars(row["iteration"], row)

    def outputs(self, iteration: int, outputs: list[Output], sample_rate: int, picture: Path) -> None:
        """Let outputs be heard and seen in TensorBoard."""
        if self.board:
            self.board.outputs(iteration, outputs, sample_rate, picture)


def describe(row: dict[str, Any]) -> str:
    """A row in one line for people; what is only for machines is left out.

    >>> describe({"iteration": 50, "loss": 0.5, "loss_by_noise": [0.25, None], "memory_mib": 800.0})
    'iteration 50 loss 0.5'
    >>> describe({"iteration": 60, "validation_loss": 0.5, "validation_loss_by_noise": [0.25, None]})
    'iteration 60 validation_loss 0.5 validation_loss_by_noise 0.25/-'
    """
    flat = {key: value for key, value in row.items() if key not in (*_FOR_MACHINES, "outputs")}
    flat |= {key: value for key, value in row.get("outputs", {}).items() if key != "iteration"}
    return " ".join(f"{key} {_text(value)}" for key, value in flat.items())


def read_history(path: Path) -> list[dict[str, Any]]:
    """Rows of a run's history; lines that a crash has cut short are left out."""
    if not path.is_file():
        return []
    rows = [_row(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return [row for row in rows if row is not None]


def forget_after(path: Path, iteration: int, again: bool = False) -> None:
    """Drop rows of later iterations, and what is no row; with ``again`` also the outputs of this one."""
    if not path.is_file():
        return
    kept = [row for row in read_history(path) if row["iteration"] <= iteration]
    if again:
        kept = [row for row in kept if row["iteration"] < iteration or "outputs" not in row]
    write_text(path, "".join(json.dumps(row) + "\n" for row in kept))


class _PatientHandler(logging.FileHandler):
    """A full disk costs lines of the log and nothing else; what must be written says so itself."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Let the line go."""

    def close(self) -> None:
        """Close the file, whether or not its last lines can be written."""
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Write what is logged to a file as well."""
    handler = _PatientHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"))
    package = logging.getLogger("diffwave")
    package.addHandler(handler)
    before = package.level
    if package.getEffectiveLevel() > logging.INFO:  # nobody has set logging up: the file is for everything
        package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.setLevel(before)
        package.removeHandler(handler)
        handler.close()


@contextlib.contextmanager
def progress_bar(start: int, total: int, shown: bool) -> Iterator[Any]:
    """A bar with the time left, where there is a terminal; logged lines appear above it."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    shown = shown and sys.stderr.isatty()
    bar = tqdm(total=total, initial=start, unit="it", disable=not shown, dynamic_ncols=True, smoothing=0.05)
    with bar, logging_redirect_tqdm() if shown else contextlib.nullcontext():
        yield bar


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(row, dict) and isinstance(row.get("iteration"), int)
    return row if whole else None


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "/".join(_text(item) for item in value)
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return str(value)
