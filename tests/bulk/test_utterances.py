"""What manifests and folders say is to be spoken, and how it is divided."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diffwave.bulk.output_names import BulkError
from diffwave.bulk.utterances import Shard, read_plan
from diffwave.corpus.manifest import Utterance, write_manifest


def manifest(folder: Path, *lines: dict | str) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("".join(line + "\n" if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def ids(source: Path, output: Path = Path("/out"), **more: Path) -> list[str]:
    return [job.id for job in read_plan(source, output, "wav", **more).jobs]


def test_the_projects_own_manifest(tmp_path: Path) -> None:
    names = ("train/61/1/61-1-0000.flac", "train/62/2/62-2-0001.flac")
    utterances = [Utterance(tmp_path / "corpus" / name, 16000, 16000, name[6:8], "train") for name in names]
    write_manifest(tmp_path / "x.jsonl", utterances)
    plan = read_plan(tmp_path / "x.jsonl", tmp_path / "out", "wav")
    assert [job.id for job in plan.jobs] == ["corpus/train/61/1/61-1-0000", "corpus/train/62/2/62-2-0001"]
    assert [(job.speaker, job.subset) for job in plan.jobs] == [("61", "train"), ("62", "train")]
    assert plan.jobs[0].reference == plan.jobs[0].source == utterances[0].path
    assert plan.root == "."


def test_files_outside_the_manifests_folder_are_named_from_the_folder_that_holds_them_all(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    source = manifest(tmp_path / "lists", {"audio_filepath": "../a/x.wav"}, {"audio_filepath": "../a/b/y.wav"})
    assert ids(source) == ["x", "b/y"]
    assert read_plan(source, tmp_path / "out", "wav").root == "../a"
    assert ids(source, root=tmp_path) == ["a/x", "a/b/y"]
    with pytest.raises(BulkError, match="every input lies in"):
        ids(source, root=tmp_path / "a" / "b")


def test_mels_with_and_without_recordings(tmp_path: Path) -> None:
    source = manifest(
        tmp_path,
        {"id": "one", "mel_filepath": "mels/1.npy", "audio_filepath": "wavs/1.wav"},
        {"id": "two", "mel_filepath": "/abs/2.pt"},
        {"id": "three", "audio_filepath": "mels/3.npy"},
    )
    jobs = read_plan(source, tmp_path / "out", "wav").jobs
    assert [job.source for job in jobs] == [tmp_path / "mels/1.npy", Path("/abs/2.pt"), tmp_path / "mels/3.npy"]
    assert [job.reference for job in jobs] == [tmp_path / "wavs/1.wav", None, None]
    assert read_plan(source, tmp_path / "out", "wav").root == ""  # no id depends on a folder


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", ":2: expected an utterance in JSON"),
        ("[1]", ":2: expected an utterance in JSON"),
        ("[" * 100_000, ":2: expected an utterance in JSON"),
        ({"id": "b"}, ":2: expected audio_filepath or mel_filepath; got id"),
        ({"audio_filepath": 3}, ":2: expected text as audio_filepath; got '3'"),
        ({"audio_filepath": "x\0.wav"}, ":2: expected text as audio_filepath"),
        ({"id": "../b", "audio_filepath": "b.wav"}, ":2: expected an id that names a file"),
        ({"id": 5, "audio_filepath": "b.wav"}, ":2: expected text as id; got '5'"),
        ({"audio_filepath": "a.flac"}, "'a' is there twice"),
    ],
)
def test_a_line_that_is_no_utterance_is_named(tmp_path: Path, line: dict | str, reason: str) -> None:
    with pytest.raises(BulkError) as caught:
        ids(manifest(tmp_path, {"audio_filepath": "a.wav"}, line))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "nothing").write_text("\n\n")
    (tmp_path / "empty").mkdir()
    for name, reason in (
        ("binary", "not UTF-8"),
        ("nothing", "it is empty"),
        ("no", "No such file"),
        ("empty", "none"),
    ):
        with pytest.raises(BulkError, match=reason):
            ids(tmp_path / name)


def test_a_folder_without_hidden_files_and_without_the_outputs(tmp_path: Path) -> None:
    for name in ("b/x.FLAC", "a.npy", "notes.txt", ".hidden.wav", "b/.cache/y.wav", "out/z.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    jobs = read_plan(tmp_path, tmp_path / "out", "wav").jobs
    assert [(job.id, job.reference is None) for job in jobs] == [("a", True), ("b/x", False)]


def test_an_output_never_replaces_an_input(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    with pytest.raises(BulkError, match="would replace an input"):
        read_plan(tmp_path, tmp_path / "x" / "..", "wav")
    assert ids(tmp_path, tmp_path / "out") == ["a"]
    (tmp_path / "out").symlink_to(tmp_path)
    with pytest.raises(BulkError, match="would replace an input"):
        read_plan(manifest(tmp_path, {"audio_filepath": "a.wav"}), tmp_path / "out", "wav")


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_shards_are_disjoint_and_their_union_is_the_whole(count: int) -> None:
    names = [f"speaker{i % 13}/utterance{i}" for i in range(400)]
    held = [[name for name in names if Shard(index, count).holds(name)] for index in range(1, count + 1)]
    assert sorted(name for part in held for name in part) == sorted(names)
    if count == 2:
        assert 150 < len(held[0]) < 250  # halves: five standard deviations
    # More utterances move none of those that were there.
    assert all(Shard(i + 1, count).holds(name) for i, part in enumerate(held) for name in part)
