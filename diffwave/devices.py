"""Which device to run on, and how to go on where its memory ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from diffwave.errors import UserError

Example = TypeVar("Example")
Output = TypeVar("Output")
# PyTorch has a class for this on GPUs only: its allocator for CPUs and oneDNN raise a RuntimeError that says so.
_CPU_COMPLAINTS = ("can't allocate memory", "not enough memory", "Cannot allocate memory")
_log = logging.getLogger(__name__)


class DeviceError(UserError, ValueError):
    """A device that this machine does not have."""


def pick_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` into a device.

    Raises:
        DeviceError: if the name is not a device, or a GPU is named and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"device {name}: expected auto, cpu, cuda or cuda:NUMBER") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device {name}: expected a CUDA GPU; this machine has none that PyTorch can use")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"device {name}: expected one of {torch.cuda.device_count()} GPUs, counted from cuda:0")
    return device


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device's memory is full."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in _CPU_COMPLAINTS)


def in_pieces(
    run: Callable[[Sequence[Example]], list[Output]],
    examples: Sequence[Example],
    release: Callable[[], bool],
    describe: Callable[[Example], str],
) -> list[Output]:
    """Run a batch, in halves, quarters and so on where it does not fit into memory.

    Args:
        run: makes an output of each example; the same, whatever else is in the batch.
        examples: at least one.
        release: gives back memory that can be spared; false if there is none, so that another try is in vain.
        describe: an example and where it should fit, in words.

    Returns:
        Outputs in the order of the examples.

    Raises:
        MemoryError: if an example alone does not fit.
    """
    done: list[Output] = []
    size = len(examples)
    while len(done) < len(examples):
        piece = examples[len(done) : len(done) + size]
        outputs = _attempt(run, piece)
        if outputs is None and release() and len(piece) == 1:
            outputs = _attempt(run, piece)
        if outputs is not None:
            done.extend(outputs)
            continue
        if len(piece) == 1:
            raise MemoryError(describe(piece[0]))
        if size == len(examples):
            _log.warning("%d examples at once do not fit into memory; going on with fewer", size)
        size = (len(piece) + 1) // 2
    return done


def _attempt(run: Callable[[Sequence[Example]], list[Output]], piece: Sequence[Example]) -> list[Output] | None:
    """What ``run`` makes of a piece; None if there is not enough memory."""
    try:
        return run(piece)
    except (MemoryError, RuntimeError) as error:
        # Nothing more may be tried in here: the exception still holds the tensors of this attempt.
        if not out_of_memory(error):
            raise
    return None
