"""What is recorded, and what is believed of it later."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from diffwave.bulk.output_names import BulkError
from diffwave.bulk.recorded_settings import claim, differences, settings_digest
from diffwave.bulk.records import ShardJournals, WorkerJournal, add, forget, is_done, known, manifest_path, write_shard

A, B = "00001-of-00002", "00002-of-00002"


def record(identity: str, **more: Any) -> dict[str, Any]:
    return {"id": identity, "settings": "now", "finished": 1.0, **more}


def test_a_journal_is_read_as_it_grows_and_a_half_line_is_not_a_record(tmp_path: Path) -> None:
    journal, reader = WorkerJournal(tmp_path, A), ShardJournals(tmp_path, A)
    assert list(reader.new()) == []
    journal.add(record("a"))
    assert [r["id"] for r in reader.new()] == ["a"]
    line = json.dumps(record("b")).encode()
    with journal.path.open("ab") as file:
        file.write(line[:20])
        file.flush()
        assert list(reader.new()) == []
        file.write(line[20:] + b"\n[1]\nnoise\n")
    assert [r["id"] for r in reader.new()] == ["b"]
    assert list(reader.new()) == []


def test_journals_become_the_manifest_of_their_shard_alone(tmp_path: Path) -> None:
    WorkerJournal(tmp_path, A).add(record("a"))
    WorkerJournal(tmp_path, B).add(record("b"))
    assert set(known(tmp_path, "now")) == {"a", "b"}
    write_shard(tmp_path, A, [record("a")])
    assert [json.loads(line)["id"] for line in manifest_path(tmp_path, A).read_text().splitlines()] == ["a"]
    assert [r["id"] for r in ShardJournals(tmp_path).new()] == ["b"]
    assert set(known(tmp_path, "now")) == {"a", "b"}
    assert known(tmp_path, "other") == {}
    forget(tmp_path)
    assert known(tmp_path, "now") == {}


def test_the_done_goes_before_the_failed_then_the_later_then_the_scored() -> None:
    failed, done = record("a", error="no", finished=9.0), record("a")
    later, scored = record("a", finished=2.0), record("a", finished=2.0, scores={})
    ranked = [failed, done, later, scored]
    for i, low in enumerate(ranked):
        for high in ranked[i + 1 :]:
            for order in ([low, high], [high, low]):
                found: dict[str, Any] = {}
                add(found, order, "now")
                assert found["a"] is high


def test_done_is_what_is_there_in_its_size_of_an_input_in_its_size(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"1234")
    source = tmp_path / "source"
    source.write_bytes(b"12")
    fine = record("a", audio_filepath="a.wav", bytes=4, source_bytes=2)
    assert is_done(tmp_path, fine, source)
    assert not is_done(tmp_path, None, source)
    assert not is_done(tmp_path, {**fine, "error": "no"}, source)
    assert not is_done(tmp_path, {**fine, "bytes": 5}, source)
    assert not is_done(tmp_path, {**fine, "audio_filepath": "b.wav"}, source)
    assert not is_done(tmp_path, record("a"), source)
    source.write_bytes(b"123")
    assert not is_done(tmp_path, fine, source)
    source.unlink()
    assert is_done(tmp_path, fine, source)


def test_a_folder_keeps_its_settings(tmp_path: Path) -> None:
    settings = {"steps": 6, "format": "wav", "checkpoint": "mine"}
    assert claim(tmp_path, settings, ".", False) is False
    assert claim(tmp_path, settings, ".", False) is False
    assert claim(tmp_path, {**settings, "checkpoint": "renamed"}, ".", False) is False
    with pytest.raises(BulkError, match="steps is 6 there and 12 now"):
        claim(tmp_path, {**settings, "steps": 12}, ".", False)
    with pytest.raises(BulkError, match=r'root is "\." there and "\.\." now'):
        claim(tmp_path, settings, "..", False)
    with pytest.raises(BulkError, match="expected --format wav"):
        claim(tmp_path, {**settings, "format": "flac"}, ".", True)
    assert claim(tmp_path, {**settings, "steps": 12}, ".", True) is True
    assert claim(tmp_path, {**settings, "steps": 12}, ".", False) is False
    (tmp_path / ".corpus/settings.json").write_text("{")
    with pytest.raises(BulkError, match="damaged"):
        claim(tmp_path, settings, ".", False)


def test_of_shards_that_begin_at_once_one_makes_the_settings(tmp_path: Path) -> None:
    def attempt(steps: int) -> int | None:
        try:
            claim(tmp_path, {"steps": steps, "format": "wav"}, ".", False)
        except BulkError:
            return None
        return steps

    with ThreadPoolExecutor(16) as executor:
        won = [steps for steps in executor.map(attempt, range(16)) if steps is not None]
    assert len(won) == 1
    assert json.loads((tmp_path / ".corpus/settings.json").read_text())["steps"] == won[0]
    assert [path.name for path in (tmp_path / ".corpus").iterdir()] == ["settings.json"]


def test_digest_and_differences() -> None:
    settings = {"steps": 6, "schedule": list(range(100)), "checkpoint": "mine"}
    assert settings_digest(settings) == settings_digest({**settings, "checkpoint": "moved"})
    assert settings_digest(settings) != settings_digest({**settings, "steps": 7})
    assert differences(settings, {**settings, "checkpoint": "moved"}) == ""
    assert "..." in differences(settings, {**settings, "schedule": []})
    assert differences({}, dict.fromkeys("abcde", 1)).endswith("and 2 more")
