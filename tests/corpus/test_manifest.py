from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffwave.config import ConfigError
from diffwave.corpus.manifest import Utterance, hours, read_manifest, write_manifest

LINE = {"audio_filepath": "a.flac", "duration": 1.5, "speaker": "19", "sample_rate": 16000}


@given(st.integers(1, 1 << 40), st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 96000]))
def test_the_length_comes_back_to_the_sample(samples: int, rate: int) -> None:
    seconds = json.loads(json.dumps(Utterance(Path("a"), samples, rate, "x").seconds))
    assert round(seconds * rate) == samples


def test_utterances_come_back_as_they_were(tmp_path: Path) -> None:
    utterances = [
        Utterance(tmp_path / "a b.flac", 225361, 16000, "103", "train-clean-100", "9f2c"),
        Utterance(tmp_path / "new\nline.wav", 1, 44100, 'quote"s'),
        Utterance(tmp_path / "no characters \udcff.wav", 7, 8000, "ünï"),
    ]
    write_manifest(tmp_path / "m.jsonl", utterances)
    assert len((tmp_path / "m.jsonl").read_bytes().splitlines()) == 3
    assert read_manifest(tmp_path / "m.jsonl") == utterances


def test_relative_paths_start_at_the_manifest_and_other_keys_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps(LINE | {"text": "words"}) + "\n\n")
    assert read_manifest(tmp_path / "m.jsonl") == [Utterance(tmp_path / "a.flac", 24000, 16000, "19")]


def test_hours() -> None:
    assert hours([Utterance(Path("a"), 16000 * 1800, 16000, "x"), Utterance(Path("b"), 8000 * 900, 8000, "x")]) == 0.75


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a manifest with one utterance a line; it is empty"),
        ("not json", r"m.jsonl:1: expected an utterance in JSON; got 'not json'"),
        (json.dumps(LINE) + "\n[]", r"m.jsonl:2: expected audio_filepath, .*; audio_filepath is None"),
        (json.dumps(LINE | {"duration": "1"}), "duration is '1'"),
        (json.dumps(LINE | {"sample_rate": True}), "sample_rate is True"),
        (json.dumps(LINE | {"duration": 0}), "expected a positive duration and sample_rate; got 0 samples"),
    ],
)
def test_a_line_that_is_no_utterance_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_manifest(tmp_path / "m.jsonl")


def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_manifest(tmp_path / "m.jsonl")
    (tmp_path / "m.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_manifest(tmp_path / "m.jsonl")
