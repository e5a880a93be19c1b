"""Crops on their way from files to the loop, read by the process itself or by loader processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from diffwave.data import CropDataset, Crops, DataError, Shares

_AHEAD = 4  # micro-batches that each loader process prepares


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
    """They reach every process of a terminal or a job; a loader process that died of one would end the iteration."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
