from __future__ import annotations

from pathlib import Path

import pytest

from diffwave.config import ConfigError
from diffwave.corpus.layout import check_replaceable, choose, lay_out
from diffwave.corpus.manifest import Utterance


def corpus(root: Path) -> list[Utterance]:
    return [Utterance(root / s / f"{s}{i}.wav", 9, 16000, s) for s in ("anna", "bob") for i in range(5)]


@pytest.mark.parametrize(("per_speaker", "count"), [(1, 2), (3, 6), (9, 10), (0, 10)])
def test_so_many_of_each_speaker_are_chosen(per_speaker: int, count: int) -> None:
    chosen = choose(corpus(Path("/c")), 0, per_speaker)
    assert len(chosen) == count
    assert chosen == sorted(chosen, key=lambda u: u.path)
    assert len({u.speaker for u in chosen}) == 2


def test_the_choice_does_not_depend_on_what_else_is_there() -> None:
    utterances = corpus(Path("/c"))
    (alone,) = choose(utterances[5:], 4, 1)
    assert alone in choose(utterances[::-1], 4, 1)
    assert any(choose(utterances, seed, 1) != choose(utterances, 4, 1) for seed in range(3))


def test_what_is_preferred_comes_first() -> None:
    utterances = corpus(Path("/c"))
    for wanted in utterances:
        assert wanted in choose(utterances, 0, 1, {wanted.path})


@pytest.mark.parametrize("has_links", [True, False])
def test_a_split_becomes_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool) -> None:
    utterances = corpus(tmp_path / "root")
    for utterance in utterances:
        utterance.path.parent.mkdir(parents=True, exist_ok=True)
        utterance.path.write_text(utterance.path.name)
    if not has_links:

        def refuse(*_: object) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(Path, "symlink_to", refuse)
    lay_out(tmp_path / "val", utterances[:3], tmp_path / "root")
    laid = sorted(path for path in (tmp_path / "val").rglob("*.wav"))
    assert [path.relative_to(tmp_path / "val").as_posix() for path in laid] == [f"anna/anna{i}.wav" for i in range(3)]
    assert [path.read_text() for path in laid] == ["anna0.wav", "anna1.wav", "anna2.wav"]
    assert all(path.is_symlink() == has_links for path in laid)


def test_only_our_own_folders_are_replaced(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "val")
    lay_out(tmp_path / "val", [], tmp_path)
    check_replaceable(tmp_path / "val")
    (tmp_path / "test-clean").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("test-clean", "link"):
        with pytest.raises(ConfigError, match=f"expected .*/{name} to be free for links; something else is there"):
            check_replaceable(tmp_path / name)
