from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffwave.config import ConfigError
from diffwave.corpus import preparation
from diffwave.corpus.inspection import Inspection, inspect
from diffwave.corpus.manifest import read_manifest
from diffwave.corpus.preparation import Preparation, prepare

RATE = 16000


def write(path: Path, seconds: float = 1.0, rate: int = RATE, gain: float = 0.1) -> Path:
    """Noise that is another in each file, by its path."""
    wav = gain * np.random.default_rng(list(path.name.encode())).uniform(-1, 1, round(seconds * rate))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wav, rate)
    return path


@pytest.fixture(scope="module")
def librispeech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve training speakers with two utterances each, two speakers of test-clean; a few files that are none."""
    root = tmp_path_factory.mktemp("LibriSpeech")
    for speaker in range(12):
        for i in range(2):
            write(root / f"train-clean-100/{speaker}/7/{speaker}-7-{i:04}.flac", 1 + speaker / 8)
    for speaker in (60, 61):
        write(root / f"test-clean/{speaker}/7/{speaker}-7-0000.flac", 1.5)
    folder = root / "train-clean-100/0/7"
    write(folder / "short.flac", 0.5)
    write(folder / "rate.flac", rate=22050)
    soundfile.write(folder / "silence.flac", np.zeros(RATE), RATE)
    # Once in training, once in test: only one of them may stay.
    (folder / "0-7-0009.flac").write_bytes((root / "test-clean/61/7/61-7-0000.flac").read_bytes())
    (root / "SPEAKERS.TXT").touch()
    return root


def prepared(root: Path, output: Path, jobs: int = 2, force: bool = False, **settings: object) -> dict[str, bytes]:
    """Prepare, and give back every file that was made."""
    prepare(replace(Preparation(root, output), **settings), jobs, force)
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def inspected(librispeech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a preparation remembers of the files: with it in the output, another one starts no process."""
    output = tmp_path_factory.mktemp("inspected")
    prepare(Preparation(librispeech, output), 2)
    return output / "inspected.jsonl"


def speakers(manifest: Path) -> set[str]:
    return {utterance.speaker for utterance in read_manifest(manifest)}


def test_every_utterance_is_in_one_manifest_or_rejected(librispeech: Path, inspected: Path, tmp_path: Path) -> None:
    shutil.copy(inspected, tmp_path)
    prepared(librispeech, tmp_path)
    manifests = {name: read_manifest(tmp_path / f"{name}.jsonl") for name in ("train", "val", "test-clean")}
    rejected = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    paths = [str(u.path) for utterances in manifests.values() for u in utterances]
    assert sorted(paths + [line["audio_filepath"] for line in rejected]) == sorted(
        map(str, librispeech.rglob("*.flac"))
    )
    assert [(Path(line["audio_filepath"]).name, line["reason"]) for line in rejected] == [
        ("0-7-0009.flac", "duplicate"),
        ("rate.flac", "other sample rate"),
        ("short.flac", "too short"),
        ("silence.flac", "silence"),
    ]
    assert rejected[0]["detail"] == "the same content as test-clean/61/7/61-7-0000.flac"
    assert {u.speaker for u in manifests["test-clean"]} == {"60", "61"}
    assert len({u.speaker for u in manifests["val"]}) == 1
    assert not speakers(tmp_path / "train.jsonl") & speakers(tmp_path / "val.jsonl")
    for utterances in manifests.values():
        assert utterances == sorted(utterances, key=lambda u: u.path)
        for utterance in utterances:
            assert utterance.samples == soundfile.info(utterance.path).frames
            assert utterance.subset == utterance.path.relative_to(librispeech).parts[0]


def test_the_statistics_are_those_of_the_files(librispeech: Path, inspected: Path, tmp_path: Path) -> None:
    shutil.copy(inspected, tmp_path)
    prepared(librispeech, tmp_path)
    statistics = json.loads((tmp_path / "statistics.json").read_text())
    (held_out,) = statistics["validation_speakers"]
    lengths = [1 + speaker / 8 for speaker in range(12) for _ in range(2) if str(speaker) != held_out]
    train = statistics["splits"]["train"]
    assert train["hours"] == pytest.approx(sum(lengths) / 3600)
    assert (train["utterances"], train["speakers"], train["sample_rates"]) == (22, 11, [RATE])
    assert train["seconds"] == {"min": min(lengths), "median": np.median(lengths), "max": max(lengths)}
    # Uniform noise up to .1 has an RMS of .1 / sqrt(3).
    assert train["level_dbfs"]["median"] == pytest.approx(20 * math.log10(0.1 / math.sqrt(3)), abs=0.05)
    assert train["peak"] == pytest.approx(0.1, abs=1e-3)
    assert train["subsets"]["train-clean-100"] == {key: train[key] for key in train if key != "subsets"}
    assert statistics["rejected"] == {"duplicate": 1, "other sample rate": 1, "silence": 1, "too short": 1}


def test_clipped_utterances_and_offsets_are_named(tmp_path: Path) -> None:
    for name in "abcd":
        write(tmp_path / f"root/{name}/{name}.wav")
    soundfile.write(tmp_path / "root/a/loud.wav", np.clip(3 * np.sin(np.arange(RATE) / 9), -1, 1), RATE)
    soundfile.write(tmp_path / "root/a/offset.wav", 0.02 + 0.1 * np.sin(2 * np.pi * np.arange(RATE) / 100), RATE)
    (tmp_path / "list").write_text("b")
    prepared(tmp_path / "root", tmp_path / "m", validation_list=tmp_path / "list")
    statistics = json.loads((tmp_path / "m/statistics.json").read_text())
    assert statistics["clipped"] == {"train": ["a/loud.wav"], "val": []}
    assert statistics["with_dc_offset"] == {"train": ["a/offset.wav"], "val": []}
    assert statistics["splits"]["train"]["clipped"] == 1
    assert statistics["splits"]["train"]["dc_offset"] == pytest.approx(0.02, abs=1e-4)


def test_the_number_of_processes_and_a_second_run_change_nothing(librispeech: Path, tmp_path: Path) -> None:
    first = prepared(librispeech, tmp_path / "a", jobs=1)
    other = prepared(librispeech, tmp_path / "b", jobs=5)
    assert first == other
    assert prepared(librispeech, tmp_path / "a") == first
    assert {"train.jsonl", "val.jsonl", "test-clean.jsonl", "rejected.jsonl", "statistics.json"} < set(first)


def test_a_second_run_decodes_nothing(librispeech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared(librispeech, tmp_path)
    looked: list[Path] = []

    def note(paths: list[Path], jobs: int) -> object:
        looked.extend(paths)
        return ((path, inspect(path)) for path in paths)

    monkeypatch.setattr(preparation, "inspect_all", note)
    assert prepared(librispeech, tmp_path) == first
    assert looked == []
    # Half of the cache, its last line cut: the rest is inspected, nothing else.
    whole = (tmp_path / "inspected.jsonl").read_bytes()
    (tmp_path / "inspected.jsonl").write_bytes(whole[: len(whole) // 2])
    assert prepared(librispeech, tmp_path) == first
    assert 0 < len(looked) < 30


def test_other_settings_are_refused_unless_forced(librispeech: Path, inspected: Path, tmp_path: Path) -> None:
    shutil.copy(inspected, tmp_path)
    first = prepared(librispeech, tmp_path)
    with pytest.raises(ConfigError, match=r"expected --min-seconds 1.0, as before; got 2.0 \(--force replaces"):
        prepared(librispeech, tmp_path, min_seconds=2.0)
    with pytest.raises(ConfigError, match=r"expected --subsets \[\], as before; got \[\"train-clean-100\"\]"):
        prepared(librispeech, tmp_path, subsets=("train-clean-100",))
    assert prepared(librispeech, tmp_path) == first
    done = prepare(Preparation(librispeech, tmp_path, ("train-clean-100",), seed=3), 1, force=True)
    assert done.notes == ['subsets was [], is now ["train-clean-100"]', "seed was 0, is now 3"]
    # test-clean is no part any more, and neither are its manifest and its folder.
    assert not list(tmp_path.glob("test-clean*"))
    # Without its twin in test-clean, the duplicate is an utterance like others.
    assert "duplicate" not in (tmp_path / "rejected.jsonl").read_text()


def test_new_files_are_taken_in_without_a_word(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"root/{name}/{name}1.wav")
    prepared(tmp_path / "root", tmp_path / "m")
    write(tmp_path / "root/a/a2.wav")
    prepared(tmp_path / "root", tmp_path / "m")
    assert sum(len(read_manifest(tmp_path / f"m/{name}.jsonl")) for name in ("train", "val")) == 4


def test_links_in_an_output_below_the_root_are_no_utterances(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / f"{name}/{name}.wav")
    first = prepared(tmp_path, tmp_path / "m")
    assert prepared(tmp_path, tmp_path / "m") == first
    assert b"duplicate" not in first["rejected.jsonl"]


def test_the_listed_utterances_are_laid_out(librispeech: Path, inspected: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    shutil.copy(inspected, tmp_path / "m")
    listed = ["train-clean-100/3/7/3-7-0001.flac", "train-clean-100/5/7/5-7-0000.flac"]
    (tmp_path / "list").write_text("\n".join(listed))
    prepared(librispeech, tmp_path / "m", validation_list=tmp_path / "list")
    laid = sorted(p.relative_to(tmp_path / "m/val").as_posix() for p in (tmp_path / "m/val").rglob("*.flac"))
    assert laid == listed
    assert speakers(tmp_path / "m/val.jsonl") == {"3", "5"}
    assert len(read_manifest(tmp_path / "m/val.jsonl")) == 4
    assert len(list((tmp_path / "m/test-clean").rglob("*.flac"))) == 2


def test_a_root_with_test_subsets_alone_has_no_training_manifest(librispeech: Path, tmp_path: Path) -> None:
    done = prepare(Preparation(librispeech, tmp_path, ("test-clean",)), 1)
    assert done.notes == ["no training subset is there: train.jsonl and val.jsonl are not made"]
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == [
        "inspected.jsonl",
        "rejected.jsonl",
        "test-clean.jsonl",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"root": "nowhere"}, "--root: expected a folder of audio; .* is not one"),
        ({"root": "empty"}, "--root .*: expected audio .* below it; found none"),
        ({"root": "above"}, "expected the LibriSpeech root itself; that is .*/above/LibriSpeech"),
        ({"subsets": ("dev-clean",)}, "--subsets: expected folders of .*; missing: dev-clean"),
        ({"sample_rate": 8000}, r"expected usable audio; all 3 files are rejected \(3 other sample rate\)"),
        ({"validation_speakers": 3}, "--validation-speakers: expected 1 to 2, of 3; got 3"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    for name in "abc":
        write(tmp_path / f"root/{name}/{name}.wav")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "above/LibriSpeech/train-clean-100/1/2/1-2-0000.flac")
    if "root" in settings:
        settings = {"root": tmp_path / str(settings["root"])}
    with pytest.raises(ConfigError, match=message):
        prepared(**{"root": tmp_path / "root", "output": tmp_path / "m", **settings})
    assert not (tmp_path / "m" / "train.jsonl").exists()


def test_why_all_was_rejected_can_be_read(tmp_path: Path) -> None:
    write(tmp_path / "root/a.wav", rate=8000)
    with pytest.raises(ConfigError, match="all 1 files are rejected"):
        prepared(tmp_path / "root", tmp_path / "m")
    assert "expected 16000 Hz; got 8000 Hz" in (tmp_path / "m/rejected.jsonl").read_text()


def test_a_full_disk_leaves_what_was_there(librispeech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared(librispeech, tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("diffwave.corpus.products.write_text", full)
        with pytest.raises(OSError, match="No space left"):
            prepared(librispeech, tmp_path, force=True, seed=5)
    kept = {name: (tmp_path / name).read_bytes() for name in first}
    assert kept == first
    # What was begun is cleared away by the next run.
    assert prepared(librispeech, tmp_path) == first


@pytest.mark.parametrize("steps", range(12))
def test_half_a_change_cannot_be_trained_on(
    librispeech: Path, inspected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    shutil.copy(inspected, tmp_path)
    # The speakers held out before and after the change are others.
    prepared(librispeech, tmp_path, seed=0)
    before = (tmp_path / "train.jsonl").read_bytes(), (tmp_path / "val.jsonl").read_bytes()
    done = 0

    def interrupted(move: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def step(path: Path, target: Path) -> Path:
            nonlocal done
            if tmp_path in (path.parent, target.parent):
                done += 1
            if done > steps:
                raise KeyboardInterrupt
            return move(path, target)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted(Path.rename))
        patch.setattr(Path, "replace", interrupted(Path.replace))
        with contextlib.suppress(KeyboardInterrupt):
            prepared(librispeech, tmp_path, force=True, seed=1)
    if (tmp_path / "train.jsonl").exists():
        now = (tmp_path / "train.jsonl").read_bytes(), (tmp_path / "val.jsonl").read_bytes()
        assert (now[0] == before[0]) == (now[1] == before[1])
    assert prepared(librispeech, tmp_path, force=True, seed=1) == prepared(librispeech, tmp_path, seed=1)
    assert (tmp_path / "val.jsonl").read_bytes() != before[1]


def test_a_file_that_vanishes_on_the_way_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        write(tmp_path / f"root/{name}/{name}.wav")

    def vanish(paths: list[Path], jobs: int) -> object:
        paths[0].unlink()
        return ((path, inspect(path)) for path in paths)

    monkeypatch.setattr(preparation, "inspect_all", vanish)
    done = prepare(Preparation(tmp_path / "root", tmp_path / "m"), 1)
    assert [(rejection.path.name, rejection.reason) for rejection in done.rejected] == [("a.wav", "cannot be read")]
    assert isinstance(done.found[done.rejected[0].path], Inspection)
