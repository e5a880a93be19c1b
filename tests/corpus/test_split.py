from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffwave.config import ConfigError
from diffwave.corpus.manifest import Utterance
from diffwave.corpus.split import choose_speakers, read_list, split

SPEAKERS = st.sets(st.text(min_size=1, max_size=6), min_size=2, max_size=60)


def corpus(*speakers: str, each: int = 3) -> list[Utterance]:
    return [Utterance(Path(f"{speaker}-{i}.wav"), 16000, 16000, speaker) for speaker in speakers for i in range(each)]


@given(SPEAKERS, st.integers(0, 9))
def test_the_sides_share_no_speaker_and_lose_no_utterance(speakers: set[str], seed: int) -> None:
    utterances = corpus(*speakers)
    done = split(utterances, seed)
    heard, held_out = {u.speaker for u in done.training}, {u.speaker for u in done.validation}
    assert heard.isdisjoint(held_out)
    assert heard
    assert sorted(held_out) == done.speakers
    assert {u.path for u in done.training + done.validation} == {u.path for u in utterances}
    assert len(held_out) == max(1, len(speakers) // 10)


def test_at_most_forty_are_held_out() -> None:
    assert len(choose_speakers({str(i) for i in range(399)}, 0)) == 39
    assert len(choose_speakers({str(i) for i in range(2000)}, 0)) == 40


@given(SPEAKERS, SPEAKERS, st.integers(0, 9), st.data())
def test_who_was_trained_on_is_never_held_out_later(
    old: set[str], new: set[str], seed: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(old) - 1))
    before, after = choose_speakers(old, seed, count), choose_speakers(old | new, seed, count)
    assert after & old <= before
    # Who comes can push out only as many as come in.
    assert len(before - after) == len(after - before) <= len(new - old)


def test_the_choice_depends_on_the_seed_and_on_nothing_else() -> None:
    names = [str(i) for i in range(200)]
    assert choose_speakers(names, 1) == choose_speakers(names[::-1], 1)
    assert choose_speakers(names, 1) != choose_speakers(names, 2)
    assert choose_speakers(["a", "b", "c"], 0, 1) == {"c"}  # the same on every machine and in every version


@pytest.mark.parametrize("count", [0, 3, 4])
def test_a_number_that_leaves_a_side_empty_is_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=f"expected 1 to 2, of 3; got {count}"):
        split(corpus("a", "b", "c"), 0, count)


def test_listed_speakers_are_held_out_and_no_others() -> None:
    done = split(corpus("a", "b", "c"), 0, listed=["c", "a", "x", "y"])
    assert {u.speaker for u in done.validation} == {"a", "c"}
    assert done.speakers == ["a", "c"]
    assert done.notes == ["2 listed speakers are not in the corpus: x, y"]
    with pytest.raises(ConfigError, match="expected speakers of the corpus; none of 2 is there"):
        split(corpus("a", "b"), 0, listed=["x", "y"])
    with pytest.raises(ConfigError, match="expected somebody to train on; all 2 speakers are held out"):
        split(corpus("a", "b"), 0, listed=["a", "b"])


def test_of_a_single_speaker_one_utterance_in_twenty_is_held_out() -> None:
    utterances = corpus("a", each=45)
    done = split(utterances, 0)
    assert done.validation == [utterances[0], utterances[20], utterances[40]]
    assert done.training == [u for u in utterances if u not in done.validation]
    assert "a single speaker (a)" in done.notes[0]
    with pytest.raises(ConfigError, match="expected two utterances or more"):
        split(utterances[:1], 0)


def test_a_list_holds_speakers_or_paths(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("# who\nanna\n\ntrain-clean-100/19/198/19-198-0000.flac\n./bob/1.wav  # second\nanna\n")
    assert read_list(path) == (["19", "anna", "bob"], ["train-clean-100/19/198/19-198-0000.flac", "./bob/1.wav"])


def test_the_recipes_own_list_has_the_speakers_of_its_configuration() -> None:
    root = Path(__file__).parents[2]
    speakers, paths = read_list(root / "recipes/librispeech/splits/val.txt")
    assert len(speakers) == len(paths) == 40
    text = (root / "configs/data/librispeech.yaml").read_text()
    assert all(f'"{speaker}"' in text for speaker in speakers)


@pytest.mark.parametrize(("content", "message"), [(None, "No such file"), (b"\xff", "not UTF-8"), (b"# x\n", "empty")])
def test_a_list_that_says_nothing_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "list").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_list(tmp_path / "list")
