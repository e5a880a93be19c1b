"""Batches in pieces, where memory is short; with a stand-in for the memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffwave.devices import DeviceError, in_pieces, out_of_memory, pick_device


class Memory:
    """Room for ``most`` examples, or more once something was given back."""

    def __init__(self, most: int, spare: int = 0) -> None:
        self.most = most
        self.spare = spare
        self.tried: list[int] = []

    def run(self, piece: Sequence[int]) -> list[int]:
        self.tried.append(len(piece))
        if len(piece) > self.most:
            raise torch.OutOfMemoryError("full")
        return [-number for number in piece]

    def release(self) -> bool:
        had, self.spare = self.spare, 0
        self.most += had
        return had > 0


def apart(memory: Memory, count: int) -> list[int]:
    return in_pieces(memory.run, list(range(count)), memory.release, lambda number: f"expected less than {number}")


@given(st.integers(1, 40), st.integers(1, 40))
def test_pieces_give_what_the_whole_gives(count: int, most: int) -> None:
    memory = Memory(most)
    assert apart(memory, count) == [-number for number in range(count)]
    # Halving stops where it fits, and no size is tried twice in vain.
    failed = [size for size in memory.tried if size > most]
    assert failed == sorted(set(failed), reverse=True)
    assert len(memory.tried) <= len(failed) + -(-count // max(1, (most + 1) // 2))


def test_what_fits_is_done_at_once_and_without_a_word(caplog) -> None:
    memory = Memory(5)
    assert apart(memory, 5) == [0, -1, -2, -3, -4]
    assert (memory.tried, caplog.records) == ([5], [])


def test_splitting_is_told_once(caplog) -> None:
    apart(Memory(1), 8)
    (record,) = caplog.records
    assert "8 examples" in record.getMessage()


def test_one_alone_is_tried_again_only_if_something_was_given_back() -> None:
    memory = Memory(0, spare=1)
    assert apart(memory, 1) == [0]
    assert memory.tried == [1, 1]
    memory = Memory(0)
    with pytest.raises(MemoryError, match="expected less than 0"):
        apart(memory, 4)
    assert memory.tried == [4, 2, 1]


def test_the_exception_of_an_attempt_is_gone_before_the_next_one() -> None:
    """It holds the frames, and with them the tensors, of what did not fit."""
    alive: list[int] = []

    class Held:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    def run(piece: Sequence[int]) -> list[int]:
        assert alive == []
        held = Held()
        if len(piece) > 1:
            raise torch.OutOfMemoryError(str(held))
        return list(piece)

    assert in_pieces(run, [1, 2, 3], lambda: False, str) == [1, 2, 3]


def test_what_is_about_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert out_of_memory(caught.value)
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("shapes do not fit"))
    assert not out_of_memory(ValueError("not enough memory"))


@pytest.mark.parametrize("name", ["gpu", "cuda:x", ""])
def test_no_device(name: str) -> None:
    with pytest.raises(DeviceError, match="expected auto, cpu, cuda"):
        pick_device(name)
