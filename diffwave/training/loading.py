"""Crops on their way from files to the loop: which of them a process takes, read by itself or by loader processes.

Each process of a distributed run takes its share of the same numbers, so the data do not depend on how many processes
there are.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from diffwave.corpus.segments import DataError
from diffwave.training.crops import CropDataset, Crops

_AHEAD = 4  # micro-batches that each loader process prepares
_GRACE = 60.0  # seconds that a loader process lives on after SIGTERM; the iteration has its crops long before


class Shares:
    """The crop numbers that one process takes, a list for each micro-batch, in order.

    Args:
        numbers: of the crops that are left, a whole number of batches.
        batch: crops of an iteration, over all processes.
        rank, processes: which of how many.
        accumulate: micro-batches of an iteration and process.
    """

    def __init__(self, numbers: range, batch: int, rank: int = 0, processes: int = 1, accumulate: int = 1) -> None:
        self.numbers, self.batch, self.accumulate = numbers, batch, accumulate
        self.share = batch // processes
        self.offset = rank * self.share

    def __iter__(self) -> Iterator[list[int]]:
        """Micro-batches of every iteration."""
        size = self.share // self.accumulate
        for start in range(self.numbers.start + self.offset, self.numbers.stop, self.batch):
            for first in range(start, start + self.share, size):
                yield list(range(first, first + size))

    def __len__(self) -> int:
        """Micro-batches of all iterations."""
        return len(self.numbers) // self.batch * self.accumulate


def make_loader(dataset: CropDataset, shares: Shares, workers: int, device: torch.device) -> DataLoader[Crops]:
    """Micro-batches in order.

    Args:
        dataset: of crops.
        shares: the numbers that this process takes.
        workers: loader processes; 0 reads in this one.
        device: that the crops go to next.
    """
    return DataLoader(
        dataset,
        batch_sampler=shares,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=_AHEAD if workers else None,
        worker_init_fn=_leave_signals_to_the_trainer,
    )


@contextlib.contextmanager
def in_order(loader: DataLoader[Crops]) -> Iterator[Iterator[Crops]]:
    """Micro-batches one after another; loader processes end with the ``with`` block.

    Left to the garbage collector they would live as long as the traceback of whatever ended the block.
    """
    batches = iter(loader)
    try:
        yield batches
    finally:
        end_processes = getattr(batches, "_shutdown_workers", None)  # PyTorch has no public name for it
        if end_processes is not None:
            end_processes()


def take(batches: Iterator[Crops], count: int) -> list[Crops]:
    """The next micro-batches.

    Raises:
        DataError: of an utterance, or of a loader process that died, in one line.
    """
    try:
        return [next(batches) for _ in range(count)]
    except RuntimeError as error:
        # A loader process hands on its whole traceback; the message is its last line.
        message = str(error).strip().splitlines()[-1].removeprefix(f"{DataError.__module__}.DataError: ")
        raise DataError(message) from None


def _leave_signals_to_the_trainer(_worker: int) -> None:
    """They reach every process of a terminal or a job; a loader process that died of one would end the iteration.

    SIGTERM is also how Python ends the processes that are left when it exits, and it waits for them: one that never
    answered would keep the trainer alive for good.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.setitimer(signal.ITIMER_REAL, _GRACE))
