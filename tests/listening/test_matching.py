from __future__ import annotations

from pathlib import Path

import pytest

from diffwave.listening.documents import ListeningError
from diffwave.listening.matching import match_items


def folder(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_files_match_by_relative_path_whatever_the_suffix(tmp_path: Path) -> None:
    reference = folder(tmp_path / "r", "a/x.flac", "b/x.flac", "b/y.flac", "b/.hidden.wav", "notes.txt")
    items, notes = match_items(reference, {"one": folder(tmp_path / "s", "b/x.wav", "a/x.WAV", "synthesis.json")})
    assert [item.name for item in items] == ["a/x", "b/x"]
    assert items[1].systems == {"one": tmp_path / "s/b/x.wav"}
    assert notes == ["one lacks 1 of 3 utterances, left out: b/y"]


def test_unique_file_names_match_where_folders_differ(tmp_path: Path) -> None:
    reference = folder(tmp_path / "r", "a/x.wav", "b/y.wav", "a/same.wav", "b/same.wav")
    items, notes = match_items(reference, {"flat": folder(tmp_path / "s", "x.wav", "y.wav", "same.wav")})
    assert [(item.name, item.systems["flat"].name) for item in items] == [("a/x", "x.wav"), ("b/y", "y.wav")]
    assert notes == ["flat lacks 2 of 4 utterances, left out: a/same, b/same"]


def test_only_what_all_systems_have_is_left(tmp_path: Path) -> None:
    reference = folder(tmp_path / "r", "x.wav", "y.wav", "z.wav")
    one, two = folder(tmp_path / "1", "x.wav", "y.wav"), folder(tmp_path / "2", "y.wav", "z.wav")
    items, notes = match_items(reference, {"one": one, "two": two})
    assert [item.name for item in items] == ["y"]
    assert len(notes) == 2


def test_a_linked_folder_is_entered_once(tmp_path: Path) -> None:
    reference = folder(tmp_path / "r", "a/x.wav")
    (reference / "a/loop").symlink_to(reference)
    items, _ = match_items(reference, {"one": folder(tmp_path / "s", "a/x.wav")})
    assert [item.name for item in items] == ["a/x"]


def test_what_cannot_be_matched_is_said(tmp_path: Path) -> None:
    reference = folder(tmp_path / "r", "x.wav", "y.wav")
    with pytest.raises(ListeningError, match=r"expected files named as in .*such as x.*; none is"):
        match_items(reference, {"one": folder(tmp_path / "1", "other.wav")})
    with pytest.raises(ListeningError, match="there is no such folder"):
        match_items(reference, {"one": tmp_path / "nowhere"})
    with pytest.raises(ListeningError, match="found none"):
        match_items(reference, {"one": folder(tmp_path / "2", "x.txt")})
    with pytest.raises(ListeningError, match=r"expected one file for each utterance; got x\.flac, x\.wav"):
        match_items(reference, {"one": folder(tmp_path / "3", "x.wav", "x.flac")})
    one, two = folder(tmp_path / "4", "x.wav"), folder(tmp_path / "5", "y.wav")
    with pytest.raises(ListeningError, match="none is in all"):
        match_items(reference, {"one": one, "two": two})
