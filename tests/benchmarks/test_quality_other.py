"""Corpora are found, brought to one rate, and shown with the language that a name tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmarks.quality import other as quality_other
from benchmarks.quality import systems as quality_systems
from diffwave.config import ModelConfig
from diffwave.evaluation.pairs import EvaluationError


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Two corpora, one at another rate and with folders of its own, and what is none."""
    tone = 0.5 * np.sin(np.arange(11025) / 9)
    for name, rate in (("a/x/LJ1.wav", 22050), ("a/LJ2.flac", 22050), ("b/de_de_1_2_3.wav", 16000)):
        path = tmp_path / "other" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone, rate)
    (tmp_path / "other/texts").mkdir()
    (tmp_path / "other/texts/words.txt").write_text("no audio")
    (tmp_path / "other/manifest.csv").write_text("path")
    return tmp_path / "other"


def test_a_corpus_is_a_folder_with_audio(other: Path, tmp_path: Path) -> None:
    assert {name: list(files) for name, files in quality_other.find(other).items()} == {
        "a": ["LJ2", "x/LJ1"],
        "b": ["de_de_1_2_3"],
    }
    for empty in (other / "texts", tmp_path / "nowhere"):
        with pytest.raises(EvaluationError, match="expected folders of audio, one for each corpus"):
            quality_other.find(empty)


def test_recordings_come_to_the_models_rate(other: Path, tmp_path: Path) -> None:
    corpora = quality_other.prepare(other, tmp_path / "work", 16000, None)
    assert [(corpus.name, corpus.rates) for corpus in corpora] == [("a", {22050: 2}), ("b", {16000: 1})]
    found = soundfile.info(tmp_path / "work/a/reference/x/LJ1.wav")
    assert (found.samplerate, found.frames) == (16000, 8000)
    ((few, _),) = ((corpus, corpus.rates) for corpus in quality_other.prepare(other, tmp_path / "few", 16000, 1)[:1])
    assert few.rates == {22050: 1}
    assert not (tmp_path / "few/a/reference/x").exists()


def test_each_corpus_is_spoken_by_each_of_four_systems(other: Path, tmp_path: Path) -> None:
    corpora = quality_other.prepare(other, tmp_path / "work", 16000, None)
    for split in ("val", "test"):
        chosen = quality_systems.systems(ModelConfig(), "default", split)
        works = quality_other.works(corpora, chosen, "cpu")
        assert [work.system.name for work in works] == [*quality_systems.ELSEWHERE] * 2
        assert {work.reference for work in works[:4]} == {tmp_path / "work/a/reference"}
        assert len({work.output for work in works}) == 8


def test_two_recordings_are_scored(other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against themselves: through the real evaluation, with columns that take no time."""
    monkeypatch.setattr(quality_other, "COLUMNS", ("level", "log_mel"))
    chosen = [quality_systems.System(quality_systems.DEFAULT, "ours", ("baseline", "--system", "copy"))]
    corpora = quality_other.prepare(other, tmp_path / "work", 16000, None)[:1]
    for work in quality_other.works(corpora, chosen, "cpu"):
        work.make()
    (found,) = quality_other.score(corpora, chosen, "cpu")
    assert (found["corpus"], found["systems"][0]["rows"]) == ("a", 2)
    assert [(row["utterance"], row["level"]) for row in found["utterances"]] == [("LJ2", 0.0), ("x/LJ1", 0.0)]


def _results() -> dict[str, Any]:
    scores = {name: {"mean": 2.0, "low": 1.75, "high": 2.25} for name in quality_other.COLUMNS}
    system = {"name": "default", "rows": 2, "status": {"ok": 2}, "scores": scores}
    row = {"system": "default", "utterance": "de_de_1_2_3", "pesq_wb": 3.5, "synchrony": -0.25}
    floor = {"system": quality_systems.FLOOR, "utterance": "de_de_1_2_3", "pesq_wb": None, "synchrony": 0.5}
    english = {"system": "default", "utterance": "LJ1", "pesq_wb": 4.0, "synchrony": 0.0}
    return {
        "labels": {"default": "ours", quality_systems.FLOOR: "no network: 650 iterations"},
        "other": [
            {"corpus": "a", "rates": {22050: 2}, "systems": [system], "utterances": [english]},
            {"corpus": "b", "rates": {16000: 1}, "systems": [system], "utterances": [row, floor]},
        ],
    }


def test_section_has_a_row_for_each_corpus_and_a_list_by_language() -> None:
    text = "\n".join(quality_other.section(_results()))
    assert "| a | 2 | ours | 2.00 ± 0.25 | 2.000 ± 0.250 | 2.000 ± 0.250 | +2.000 ± 0.250 |" in text
    assert "a 22.05 kHz, b 16 kHz" in text
    assert "never trained on" in text
    assert "| German | b/de_de_1_2_3 | 3.50 | — | -0.250 | +0.500 |" in text
    assert "a/LJ1" not in text


def test_no_corpora_no_section_and_no_languages_no_list() -> None:
    assert quality_other.section({"other": []}) == []
    results = _results()
    del results["other"][1]
    results["other"][0]["systems"][0]["status"] = {"ok": 1}
    text = "\n".join(quality_other.section(results))
    assert "language |" not in text
    assert "left out of its mean: a, ours: 1." in text
