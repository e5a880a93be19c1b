"""Spectral scores in batches on a GPU, in a thread beside the worker processes."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from diffwave.audio.checks import AudioError
from diffwave.evaluation.pairs import Pair
from diffwave.evaluation.scoring import Loading, MismatchError, load_pair
from diffwave.evaluation.spectral import spectral_scores

BATCH = 16
_LONGEST = 60.0  # s; longer utterances are scored alone, so that one of them does not pad all the others


class SpectralBatches:
    """Spectral scores of rows, computed ahead of being asked for.

    A row's batch depends on the list of all rows and on nothing else, so that a run that was resumed gives the
    same digits as one that never stopped.

    Args:
        pairs: all rows.
        filterbank: mel filters ``[M, K]``.
        device: a torch device.
        loading: how files are read.
    """

    def __init__(self, pairs: list[Pair], filterbank: np.ndarray, device: str, loading: Loading) -> None:
        import torch

        self.pairs = pairs
        self.loading = loading
        self.device = torch.device(device)
        self.filterbank = torch.from_numpy(filterbank).to(self.device)
        self._executor = ThreadPoolExecutor(1)
        self._batches: dict[int, Future[dict[int, dict[str, float]]]] = {}
        self._asked: dict[int, int] = {}

    def ask(self, row: int) -> None:
        """Begin with the batch of a row, if that has not happened."""
        number = row // BATCH
        if number not in self._batches:
            self._batches[number] = self._executor.submit(self._score, number)
        self._asked[number] = self._asked.get(number, 0) + 1

    def take(self, row: int) -> dict[str, float]:
        """Scores of a row that was asked for; empty if its files cannot be compared."""
        number = row // BATCH
        scores = self._batches[number].result().get(row, {})
        self._asked[number] -= 1
        # The last row of a batch may come much later than the first; what nobody waits for is dropped.
        if self._asked[number] == 0 and row % BATCH == BATCH - 1:
            del self._batches[number], self._asked[number]
        return scores

    def close(self) -> None:
        """Wait for the thread and end it."""
        self._executor.shutdown(cancel_futures=True)

    def _score(self, number: int) -> dict[int, dict[str, float]]:
        import torch

        together: list[tuple[int, Any, Any]] = []
        results: dict[int, dict[str, float]] = {}
        for row in range(number * BATCH, min((number + 1) * BATCH, len(self.pairs))):
            try:
                reference, estimate, seconds = load_pair(
                    self.pairs[row].reference, self.pairs[row].estimate, self.loading
                )
            except (AudioError, MismatchError, OSError):
                continue  # the worker tells why
            sides = [torch.from_numpy(wav).to(self.device) for wav in (reference, estimate)]
            entry = (row, sides[0], sides[1])
            if seconds > _LONGEST:
                results |= self._batch([entry])
            else:
                together.append(entry)
        return results | (self._batch(together) if together else {})

    def _batch(self, entries: list[tuple[int, Any, Any]]) -> dict[int, dict[str, float]]:
        try:
            scores = spectral_scores([e[1] for e in entries], [e[2] for e in entries], self.filterbank)
        except ValueError:
            if len(entries) == 1:
                return {}
            # One utterance is too short for a frame: the others are not.
            return {row: found for entry in entries for row, found in self._batch([entry]).items()}
        columns = {name: values.cpu().tolist() for name, values in scores.items()}
        return {
            entry[0]: {name: values[i] for name, values in columns.items() if math.isfinite(values[i])}
            for i, entry in enumerate(entries)
        }
