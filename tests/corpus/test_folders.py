from __future__ import annotations

import os
from pathlib import Path

import pytest

from diffwave.config import ConfigError
from diffwave.corpus.folders import audio_paths, speaker_of, subset_of


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root: Path, subsets: tuple[str, ...] = ()) -> list[str]:
    return [path.relative_to(root).as_posix() for path in audio_paths(root, subsets)]


def test_of_a_librispeech_root_the_training_subsets_are_taken(tmp_path: Path) -> None:
    touch(tmp_path, "train-other-500/20/205/20-205-0000.flac", "train-clean-100/19/198/19-198-0000.flac")
    touch(tmp_path, "test-clean/61/70968/61-70968-0000.flac", "train-clean-100/19/198/19-198.trans.txt")
    training = ["train-clean-100/19/198/19-198-0000.flac", "train-other-500/20/205/20-205-0000.flac"]
    assert found(tmp_path) == training
    assert found(tmp_path, ("test-clean",)) == ["test-clean/61/70968/61-70968-0000.flac"]
    assert found(tmp_path, ("train-clean-100", "train-clean-100/19")) == training[:1]


def test_any_other_root_is_taken_whole_but_for_what_is_hidden(tmp_path: Path) -> None:
    touch(tmp_path, "loose.wav", "anna/1.FLAC", "anna/deep/2.ogg", "notes.txt", "anna/._1.flac", ".download/3.flac")
    assert found(tmp_path) == ["anna/1.FLAC", "anna/deep/2.ogg", "loose.wav"]


def test_links_to_folders_are_followed_once_and_never_in_circles(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(tmp_path, "elsewhere/1.wav", "root/anna/2.wav")
    (root / "bob").symlink_to(tmp_path / "elsewhere")
    (root / "bob again").symlink_to(tmp_path / "elsewhere")
    (root / "anna" / "up").symlink_to(root)
    (root / "self.wav").symlink_to("self.wav")
    assert found(root) == ["anna/2.wav", "bob/1.wav"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "file", "dev-clean/x.flac")
    with pytest.raises(ConfigError, match=r"^data.root: expected a folder of audio; .*/file is not one$"):
        audio_paths(tmp_path / "file", [])
    with pytest.raises(ConfigError, match=r"^--subsets: expected folders of .*; missing: a, b$"):
        audio_paths(tmp_path, ["a", "dev-clean", "b"], "--")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "anna/1.wav", "locked/2.wav")
    listed = os.scandir

    # Whoever runs this as root may list everything, so the refusal is made up.
    def scandir(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ConfigError, match=r"expected folders that can be listed; .*/locked: Permission denied"):
        audio_paths(tmp_path, [])


@pytest.mark.parametrize(
    ("path", "speaker", "subset"),
    [
        ("train-clean-100/19/198/19-198-0000.flac", "19", "train-clean-100"),
        ("test-clean/61/70968/61-70968-0000.flac", "61", "test-clean"),
        ("somewhere/19-198-0000.flac", "19", ""),
        ("anna/1.wav", "anna", ""),
        ("studio/day 1/anna/1.wav", "anna", "studio/day 1"),
        ("studio/bob/1.wav", "bob", "studio"),
        ("loose.wav", "loose", ""),
        ("train-wreck.wav", "train-wreck", ""),
    ],
)
def test_speaker_and_subset_follow_from_the_path(path: str, speaker: str, subset: str) -> None:
    root = Path("/corpus")
    assert speaker_of(root / path, root) == speaker
    assert subset_of(root / path, root, ["studio", "studio/day 1"]) == subset
