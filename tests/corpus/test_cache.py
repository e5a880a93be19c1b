from __future__ import annotations

import os
from pathlib import Path

import pytest

from diffwave.corpus.cache import InspectionCache
from diffwave.corpus.inspection import CRASHED, UNREADABLE, Inspection

FOUND = Inspection(sha256="9f", samples=3, sample_rate=16000, channels=1, low=-0.1, high=0.3, mean=1 / 3, rms=2**0.5)


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    (tmp_path / "a.wav").write_bytes(b"abc")
    return tmp_path / "a.wav"


def test_what_was_found_comes_back_to_the_bit(tmp_path: Path, audio: Path) -> None:
    with InspectionCache(tmp_path / "c.jsonl") as cache:
        assert cache.get(audio) is None
        cache.add(audio, FOUND)
        assert cache.get(audio) == FOUND
        # For a run that is killed now, it is on the disk.
        assert (tmp_path / "c.jsonl").read_bytes().count(b"\n") == 1
    with InspectionCache(tmp_path / "c.jsonl") as cache:
        assert cache.get(audio) == FOUND
        assert cache.get(tmp_path / "b.wav") is None


@pytest.mark.parametrize("change", ["size", "time", "gone"])
def test_a_file_that_changed_is_inspected_again(tmp_path: Path, audio: Path, change: str) -> None:
    with InspectionCache(tmp_path / "c.jsonl") as cache:
        cache.add(audio, FOUND)
        status = audio.stat()
        if change == "size":
            audio.write_bytes(b"abcd")
            os.utime(audio, ns=(status.st_atime_ns, status.st_mtime_ns))
        elif change == "time":
            os.utime(audio, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        else:
            audio.unlink()
        assert cache.get(audio) is None


def test_half_a_line_is_ignored_and_the_next_one_is_whole(tmp_path: Path, audio: Path) -> None:
    other = tmp_path / "b.wav"
    other.write_bytes(b"b")
    with InspectionCache(tmp_path / "c.jsonl") as cache:
        cache.add(audio, FOUND)
        cache.add(other, FOUND)
    whole = (tmp_path / "c.jsonl").read_bytes()
    for end in range(len(whole) // 2 + 1, len(whole) - 1, 40):
        (tmp_path / "c.jsonl").write_bytes(whole[:end])
        with InspectionCache(tmp_path / "c.jsonl") as cache:
            assert cache.get(audio) == FOUND
            assert cache.get(other) is None
            cache.add(other, FOUND)
        with InspectionCache(tmp_path / "c.jsonl") as cache:
            assert cache.get(other) == FOUND


def test_lines_of_others_are_ignored(tmp_path: Path, audio: Path) -> None:
    (tmp_path / "c.jsonl").write_text(
        '[]\n{}\n{"format": 99}\n3\n{"format": 1, "path": "x", "stamp": "1@1", "new": 2}\n'
    )
    with InspectionCache(tmp_path / "c.jsonl") as cache:
        assert cache.get(audio) is None


@pytest.mark.parametrize("reason", [CRASHED, UNREADABLE])
def test_what_may_pass_is_not_kept(tmp_path: Path, audio: Path, reason: str) -> None:
    with InspectionCache(tmp_path / "c.jsonl") as cache:
        cache.add(audio, Inspection(reason))
        assert cache.get(audio) is None


def test_a_compact_cache_has_a_line_for_each_file_in_order(tmp_path: Path, audio: Path) -> None:
    other = tmp_path / "b.wav"
    other.write_bytes(b"b")
    with InspectionCache(tmp_path / "c.jsonl") as cache:
        for path in (other, audio, other):
            cache.add(path, FOUND)
        cache.compact([audio, other, tmp_path / "unknown.wav"])
    lines = (tmp_path / "c.jsonl").read_text().splitlines()
    assert [name in line for name, line in zip(("a.wav", "b.wav"), lines, strict=True)] == [True, True]
