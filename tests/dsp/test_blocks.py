from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from diffwave.dsp.blocks import Block, Layout, rising

layouts = st.builds(
    Layout,
    st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    behind=st.integers(0, 12),
    ahead=st.integers(0, 12),
)


@given(layouts, st.integers(0, 90))
def test_blocks_follow_each_other_and_look_as_far_as_there_is_something(layout: Layout, frames: int) -> None:
    blocks = layout.divide(frames)
    assert [block.begin for block in blocks] == [0, *(block.end for block in blocks[:-1])][: len(blocks)]
    assert (blocks[-1].end if blocks else 0) == frames
    for index, block in enumerate(blocks):
        assert block.start == max(0, block.begin - layout.behind)
        last = index == len(blocks) - 1
        assert block.stop == (block.end if last else block.end + layout.ahead)
        wanted = layout.lengths[min(index, len(layout.lengths) - 1)]
        assert block.end - block.begin <= wanted + layout.ahead if last else block.end - block.begin == wanted


@given(layouts, st.integers(0, 90), st.lists(st.integers(0, 20), max_size=30))
def test_it_does_not_matter_when_frames_arrive(layout: Layout, frames: int, arrivals: list[int]) -> None:
    blocks: list[Block] = []
    so_far = 0
    for arriving in [*arrivals, frames]:
        so_far = min(frames, so_far + arriving)
        while block := layout.block(len(blocks), blocks[-1].end if blocks else 0, so_far, complete=False):
            assert block.stop < so_far
            blocks.append(block)
    while block := layout.block(len(blocks), blocks[-1].end if blocks else 0, frames, complete=True):
        blocks.append(block)
    assert blocks == layout.divide(frames)


def test_a_block_waits_for_no_more_than_its_context_and_the_news_that_it_is_not_the_last() -> None:
    layout = Layout((4, 8), behind=3, ahead=2)
    assert layout.block(0, 0, 6, complete=False) is None
    assert layout.block(0, 0, 7, complete=False) == Block(0, 0, 4, 6)
    assert layout.block(1, 4, 14, complete=False) is None
    assert layout.block(1, 4, 15, complete=False) == Block(1, 4, 12, 14)


@given(st.integers(1, 500), st.integers(1, 500))
def test_lengths_double_up_to_the_longest(first: int, longest: int) -> None:
    lengths = rising(first, longest)
    assert lengths[0] == min(first, longest)
    assert lengths[-1] == longest
    assert all(b == min(2 * a, longest) for a, b in pairwise(lengths))
