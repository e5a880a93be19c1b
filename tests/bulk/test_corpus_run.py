"""Whole runs in this process: the same files whatever the shards and the interruptions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bulk_corpus import Watch, contents, write_recordings
from diffwave.bulk.index import INDEX, MANIFEST
from diffwave.bulk.output_names import BulkError
from diffwave.bulk.recorded_settings import Request
from diffwave.bulk.utterances import read_plan
from diffwave.bulk.worker import PROBE, CorpusSpeaker, Setup
from diffwave.cli.main import main
from diffwave.config import ConfigError
from diffwave.corpus.lock import alone_in
from diffwave.corpus.manifest import read_manifest
from diffwave.rendering.prepared_input import read_input


def shard_records(output: Path) -> list[dict]:
    return [json.loads(line) for path in sorted(output.glob("shard-*")) for line in path.read_text().splitlines()]


@pytest.fixture
def whole(speak, recordings, tmp_path) -> Path:
    """The corpus in one go."""
    speak(recordings, tmp_path / "whole")
    return tmp_path / "whole"


def test_files_and_records_are_those_of_synthesize(recordings, whole, tmp_path, tiny_checkpoint):
    arguments = [str(recordings), "--output", str(tmp_path / "other"), "--checkpoint", str(tiny_checkpoint)]
    assert main(["synthesize", *arguments, "--device", "cpu"]) == 0
    ours, theirs = contents(whole), contents(tmp_path / "other")
    del ours[MANIFEST]
    assert ours == theirs
    assert len(ours) == 8
    records = shard_records(whole)
    assert {r["audio_filepath"]: r["sha256"] for r in records} == ours
    for row in records:
        info = soundfile.info(whole / row["audio_filepath"])
        assert (row["samples"], row["sample_rate"]) == (info.frames, info.samplerate)
        assert row["bytes"] == (whole / row["audio_filepath"]).stat().st_size
        assert row["seconds"] > 0
    assert len({row["settings"] for row in records}) == 1
    # The list of all outputs is a manifest as training reads it.
    utterances = read_manifest(whole / MANIFEST)
    assert [u.samples for u in utterances] == [r["samples"] for r in records]
    assert [u.sha256 for u in utterances] == [r["sha256"] for r in records]
    document = json.loads((whole / INDEX).read_text())
    assert (document["done"], document["failed"], document["missing"], document["complete"]) == (8, 0, 0, True)
    assert document["hours"] == pytest.approx(sum(u.seconds for u in utterances) / 3600)
    assert document["real_time_factor"] == pytest.approx(document["worker_hours"] / document["hours"])


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shards_together_are_the_whole(speak, recordings, whole, tmp_path, order):
    output = tmp_path / "shards"
    results = [speak(recordings, output, shard=(index, 3)) for index in order]
    assert [r["corpus"]["complete"] for r in results] == [False, False, True]
    assert sum(r["run"]["done"] for r in results) == 8
    assert contents(output) == contents(whole)
    assert [s["done"] for s in results[-1]["corpus"]["shards"]] == [
        r["shard"]["done"] for _, r in sorted(zip(order, results, strict=True))
    ]
    # Another number of shards finds everything done.
    again = speak(recordings, output)
    assert (again["run"]["done"], again["skipped"], again["corpus"]["done"]) == (0, 8, 8)
    assert contents(output) == contents(whole)


def test_a_run_that_is_interrupted_goes_on(speak, recordings, whole, tmp_path):
    def interrupt(count: int) -> None:
        if count == 3:
            raise KeyboardInterrupt

    output = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        speak(recordings, output, progress=Watch(interrupt))
    document = json.loads((output / INDEX).read_text())
    assert (document["done"], document["missing"], document["complete"]) == (3, 5, False)
    # A killed process leaves what it was writing, under another name.
    leftover = output / "0" / ".u00.wav.unfinished-abcd1234.wav"
    leftover.write_bytes(b"half")
    watch = Watch()
    result = speak(recordings, output, progress=watch)
    assert (watch.total, watch.done, result["run"]["done"], result["skipped"]) == (8, 3, 5, 3)
    assert contents(output) == contents(whole)
    assert not leftover.exists()


def test_what_is_gone_cut_or_of_another_input_is_done_again(speak, tmp_path):
    source = write_recordings(tmp_path / "in", 4)
    output = tmp_path / "out"
    speak(source, output)
    first = contents(output)
    (output / "0/u00.wav").unlink()
    with (output / "1/u01.wav").open("r+b") as file:
        file.truncate(100)
    wav, rate = soundfile.read(source / "0/u02.flac")
    soundfile.write(source / "0/u02.flac", wav[::-1][:7000], rate)
    result = speak(source, output)
    assert (result["run"]["done"], result["skipped"]) == (3, 1)
    second = contents(output)
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {"0/u02.wav", MANIFEST}
    assert {r["id"]: r["sha256"] for r in shard_records(output)}["0/u02"] == second["0/u02.wav"]


def test_one_bad_input_fails_alone(speak, tmp_path, whole):
    source = write_recordings(tmp_path / "in", 8)
    (source / "noise.wav").write_bytes(b"nonsense")
    np.save(source / "mel.npy", np.zeros((3, 5), np.float32))
    np.save(source / "pickled.npy", np.array([{}], dtype=object))
    (source / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    soundfile.write(source / "short.wav", np.zeros(10), 16000)
    output = tmp_path / "out"
    result = speak(source, output)
    assert (result["run"]["done"], result["run"]["failed"]) == (8, 5)
    failed = {row["id"]: row["error"] for row in shard_records(output) if "error" in row}
    assert set(failed) == {"noise", "mel", "pickled", "gone", "short"}
    assert "expected a mel [80 bands, frames]" in failed["mel"]
    assert "never loaded" in failed["pickled"]
    assert "at least one frame" in failed["short"]
    assert {f["id"] for f in result["corpus"]["failures"]} == set(failed)
    assert contents(output) == contents(whole)
    # It is tried again the next time, and nothing else is.
    (source / "noise.wav").unlink()
    shutil.copy(source / "0/u00.flac", source / "noise.flac")
    again = speak(source, output)
    assert (again["run"]["done"], again["run"]["failed"], again["skipped"]) == (1, 4, 8)


def test_a_defect_costs_its_utterance_and_says_what_it_was(speak, recordings, tmp_path):
    from diffwave.rendering.prepared_input import read_input

    def broken(vocoder, path):
        if path.stem == "u03":
            raise RuntimeError("a bug\nwith pages of explanation")
        return read_input(vocoder, path)

    result = speak(recordings, tmp_path / "out", read=broken)
    assert (result["run"]["done"], result["run"]["failed"]) == (7, 1)
    assert result["corpus"]["failures"][0]["error"] == "RuntimeError: a bug"


def test_other_settings_are_refused_and_forced_ones_replace_all(speak, recordings, whole, tmp_path):
    before = contents(whole)
    with pytest.raises(BulkError, match=r"seed is 0 there and 1 now.*--force"):
        speak(recordings, whole, seed=1)
    assert contents(whole) == before
    # Shards one after the other: the second finds the folder as the first has left it.
    results = [speak(recordings, whole, shard=(index, 2), seed=1, force=True) for index in (1, 2)]
    assert sum(result["run"]["done"] for result in results) == 8
    after = contents(whole)
    assert all(after[name] != before[name] for name in before)
    # And back: files of the same size are not taken for what they are not.
    assert speak(recordings, whole, force=True)["run"]["done"] == 8
    assert contents(whole) == before


def test_a_folder_of_somebody_else_is_left_alone(speak, recordings, tmp_path):
    output = tmp_path / "out"
    (output / "0").mkdir(parents=True)
    (output / "0/u02.wav").write_bytes(b"mine")
    with pytest.raises(BulkError, match=r"u02\.wav is there already"):
        speak(recordings, output)
    assert (output / "0/u02.wav").read_bytes() == b"mine"
    assert [path.name for path in output.iterdir()] == ["0"]
    assert speak(recordings, output, force=True)["run"]["done"] == 8


def test_one_run_at_a_time_over_a_shard(speak, recordings, tmp_path):
    work = tmp_path / "out/.corpus/work/00001-of-00002"
    work.mkdir(parents=True)
    with alone_in(work), pytest.raises(ConfigError, match="another synthesis of this shard is at work"):
        speak(recordings, tmp_path / "out", shard=(1, 2))
    speak(recordings, tmp_path / "out", shard=(2, 2))


def test_flac_has_the_same_samples(speak, recordings, whole, tmp_path):
    speak(recordings, tmp_path / "flac", file_format="flac")
    for path in whole.rglob("*.wav"):
        flac = tmp_path / "flac" / path.relative_to(whole).with_suffix(".flac")
        assert soundfile.info(flac).subtype == "PCM_16"
        assert (soundfile.read(flac, dtype="int16")[0] == soundfile.read(path, dtype="int16")[0]).all()


def test_scores_come_with_the_outputs_or_later_and_are_those_of_evaluate(speak, tmp_path):
    source = write_recordings(tmp_path / "in", 2)
    mel = np.full((80, 40), -11.0, np.float32)
    np.save(source / "mel.npy", mel)
    output, later = tmp_path / "out", tmp_path / "later"
    result = speak(source, output, metrics=("level", "lsd"))
    assert result["unscored"] == 1  # there is nothing to compare a mel with
    speak(source, later)
    watch = Watch()
    result = speak(source, later, metrics=("level", "lsd"), progress=watch)
    assert (watch.total, watch.done, len(watch.records)) == (3, 0, 3)
    assert (output / "scores-00001-of-00001.csv").read_bytes() == (later / "scores-00001-of-00001.csv").read_bytes()
    assert contents(output) == contents(later)
    arguments = ["--estimate", f"ours={later}", "--report", str(tmp_path / "report"), "--metrics", "level,lsd"]
    (source / "mel.npy").unlink()
    assert main(["evaluate", "--reference", str(source), *arguments, "--floor", "0", "--workers", "0"]) == 0
    [theirs] = json.loads((tmp_path / "report/summary.json").read_text())["systems"]
    for name in ("level", "lsd"):
        assert result["corpus"]["scores"]["metrics"][name]["mean"] == theirs["scores"][name]["mean"]
    # Who asks for no scores keeps those that are there.
    assert "scores" in speak(source, later)["corpus"]


def test_an_input_that_ended_three_processes_is_given_up(recordings, tmp_path, tiny_checkpoint):
    work = tmp_path / ".corpus/work/a"
    work.mkdir(parents=True)
    (work / PROBE).write_text("token")
    request = Request(checkpoint=str(tiny_checkpoint), device="cpu")
    speaker = CorpusSpeaker(Setup(request, tmp_path, "a", "token", read_input))
    job = read_plan(recordings, tmp_path, "wav").jobs[0]
    seen: list[Path] = []

    def die(vocoder, path):
        seen.extend((work / "started").iterdir())
        raise SystemExit  # as near as a test may come to a process that ends

    for attempt in (1, 2, 3):
        dying = CorpusSpeaker(Setup(request, tmp_path, "a", "token", die))
        with pytest.raises(SystemExit):
            dying(job)
        # It would have stayed behind.
        seen[-1].write_bytes(b"." * attempt)
    record = speaker(job)
    assert "ended 3 times" in record["error"]
    assert not list(tmp_path.rglob("*.wav"))
    # The mark went with the answer, so another run may try again.
    assert speaker(job)["attempts"] == 1
