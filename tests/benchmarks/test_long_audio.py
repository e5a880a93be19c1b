"""The benchmark of long audio: a length is a process of its own, and the page tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from benchmarks import long_audio
from benchmarks.long_audio import LIMIT_GIB, page


def test_a_recording_is_as_long_as_asked_and_repeats_the_utterance(tmp_path: Path) -> None:
    long_audio.recording(tmp_path / "long.wav", 9.5, 16000)
    wav, rate = soundfile.read(tmp_path / "long.wav")
    said, _ = soundfile.read(long_audio.UTTERANCE)
    assert (rate, len(wav)) == (16000, 152000)
    assert len(said) < len(wav) < 10 * len(said)
    assert abs(wav[len(said) : 2 * len(said)] - wav[: len(said)][: len(wav) - len(said)]).max() == 0


def test_each_length_is_measured_in_a_process_of_its_own(tmp_path: Path, tiny_checkpoint: Path) -> None:
    row = long_audio.measure_length(tmp_path, tiny_checkpoint, 16000, 0.1, ["--steps", "1"])
    # PyTorch alone holds tens of MiB, and four seconds of audio are no gigabyte.
    assert row["own"] > 50 << 20
    assert 0 <= row["grown"] < 1 << 30
    assert row["rtf"] < row["seconds"] / (60 * row["minutes"] - 2)


def test_what_is_long_is_not_read_at_once(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(_folder: Path, _checkpoint: Path, _rate: int, minutes: float, choices: list[str]) -> dict[str, Any]:
        return {"minutes": minutes, "grown": 0, "rtf": 0.1, "given": choices}

    monkeypatch.setattr(long_audio, "measure_length", measure)
    rows = long_audio.measure_lengths("tiny", tiny_checkpoint, [1, 2], [], longest=1)
    assert [(row["minutes"], row["chunked"], bool(row["given"])) for row in rows] == [
        (1, True, True),
        (1, False, False),
        (2, True, True),
    ]


def test_a_process_that_fails_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="non-zero exit status"):
        long_audio.measure_length(tmp_path, tmp_path / "nowhere", 16000, 0.01, [])


def _figures() -> dict[str, Any]:
    length = {"choices": [], "own": 300 << 20, "seconds": 6.0}
    return {
        "lengths": [
            {"model": "default", "chunked": True, "minutes": 1.0, "grown": 82 << 20, "rtf": 0.1, **length},
            {"model": "BASE", "chunked": False, "minutes": 5.0, "grown": 1321 << 20, "rtf": 0.25, **length},
        ],
        "load": 0.1,
        "threads": 1,
        "command": "x",
        "environment": {"processor": "A", "cores": 2, "system": "s", "python": "3.11", "torch": "2.14"},
    }


def test_the_page_has_a_row_for_each_length() -> None:
    text = page(_figures())
    assert "| default | yes | 1 | 382 | 0.100 |" in text
    assert "| BASE | no | 5 | 1621 | 0.250 |" in text


def test_the_page_is_that_of_the_figures_and_chunks_fit() -> None:
    docs = long_audio.DOCUMENTS
    figures = json.loads((docs / "long-audio.json").read_text(encoding="utf-8"))
    assert (docs / "long-audio.md").read_text(encoding="utf-8") == page(figures)
    longest = [row for row in figures["lengths"] if row["minutes"] >= 10 and row["chunked"]]
    assert longest
    assert all(row["grown"] < LIMIT_GIB * 2**30 for row in longest)
