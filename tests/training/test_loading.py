from __future__ import annotations

import pytest

from diffwave.training.loading import Shares


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_every_batch_without_repeats_or_gaps(processes: int, accumulate: int) -> None:
    batch, numbers = 12, range(24, 84)
    shares = [Shares(numbers, batch, rank, processes, accumulate) for rank in range(processes)]
    lists = [list(share) for share in shares]
    assert [len(share) for share in shares] == [len(batches) for batches in lists] == [5 * accumulate] * processes
    for iteration in range(5):
        part = slice(iteration * accumulate, (iteration + 1) * accumulate)
        taken = [number for batches in lists for micro_batch in batches[part] for number in micro_batch]
        # In the order of the processes: the same batch, in the same order, however many there are.
        assert taken == list(range(24 + iteration * batch, 24 + (iteration + 1) * batch))
