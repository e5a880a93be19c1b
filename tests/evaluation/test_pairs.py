"""Which estimate belongs to which recording, and whose voice it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diffwave.evaluation.pairs import EvaluationError, audio_files, match


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_relative_paths_are_matched_and_suffixes_do_not_matter(tmp_path):
    recordings = touch(tmp_path / "r", "x/a.flac", "y/a.flac", "y/b.WAV")
    system = touch(tmp_path / "s", "x/a.wav", "y/a.ogg", "z/a.wav")
    (found,) = match(recordings, {"s": system})
    assert [(p.utterance, p.estimate.relative_to(system).as_posix()) for p in found.pairs] == [
        ("x/a", "x/a.wav"),
        ("y/a", "y/a.ogg"),
        ("y/b", "y/b.wav"),  # missing: named as it was expected
    ]
    assert found.unmatched == ("z/a",)


def test_file_names_are_matched_where_no_path_fits_and_only_if_they_are_unique(tmp_path):
    recordings = touch(tmp_path / "r", "1/2/1-2-3.flac", "4/5/4-5-6.flac", "7/same.flac", "8/same.flac")
    system = touch(tmp_path / "s", "1-2-3.wav", "same.wav")
    (found,) = match(recordings, {"s": system})
    assert [p.utterance for p in found.pairs if p.estimate.is_file()] == ["1/2/1-2-3"]
    assert found.unmatched == ("same",)


@pytest.mark.parametrize(
    ("name", "speaker"),
    [
        ("84/121123/84-121123-0001", "84"),
        ("p225_001", "p225"),
        ("14_208_000001_000000", "14"),
        ("LJ001-0001", "LJ001-0001"),
        ("x/LJ001-0001", "x/LJ001-0001"),
    ],
)
def test_names_of_common_corpora_tell_the_speaker(name, speaker, tmp_path):
    recordings = touch(tmp_path / "r", f"{name}.wav")
    (found,) = match(recordings, {"s": recordings})
    assert found.pairs[0].speaker == speaker


def test_hidden_files_are_no_recordings(tmp_path):
    folder = touch(tmp_path / "r", "a.wav", ".b.wav", ".c/d.wav", "._a.wav")
    assert list(audio_files(folder, "--reference")) == ["a"]


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.raises(EvaluationError, match="one file called a"):
        audio_files(touch(tmp_path / "r", "a.wav", "a.flac"), "--reference")


def test_a_link_in_a_circle_adds_nothing(tmp_path):
    folder = touch(tmp_path / "r", "a.wav")
    (folder / "loop").symlink_to(folder)
    assert list(audio_files(folder, "--reference")) == ["a"]


def test_the_record_tells_steps_and_what_all_outputs_share(tmp_path):
    system = touch(tmp_path / "s", "a.wav", "b.wav")
    rows = [
        {"output": "a.wav", "steps": 6, "seed": 1, "real_time_factor": 0.5, "sampler": "ddim"},
        {"output": "b.wav", "steps": 6, "seed": 2, "real_time_factor": "fast", "sampler": "ddim"},
        {"output": "gone.wav", "steps": 9, "sampler": "ddpm"},
    ]
    (system / "synthesis.json").write_text(json.dumps({"outputs": rows}))
    (found,) = match(system, {"s": system})
    assert found.pairs[0].recorded == {"steps": 6, "real_time_factor": 0.5}
    assert found.pairs[1].recorded == {"steps": 6}
    assert found.origin == {"sampler": "ddim", "steps": 6}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"outputs": 3}', '{"outputs": [[1]]}', '{"outputs": [{}]}'])
def test_a_record_that_cannot_be_read_is_none(text, tmp_path):
    system = touch(tmp_path / "s", "a.wav")
    (system / "synthesis.json").write_text(text)
    (found,) = match(system, {"s": system})
    assert found.origin == {}
    assert found.pairs[0].recorded == {}
