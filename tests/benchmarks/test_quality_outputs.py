"""What is complete and made in the same way is kept, and everything else is made again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile

from benchmarks import report
from benchmarks.quality import __main__ as quality
from benchmarks.quality import outputs as quality_synthesis
from benchmarks.quality.outputs import RECORD, Work, make_all
from benchmarks.quality.systems import System
from diffwave.evaluation.pairs import audio_files

ROOT = Path(__file__).resolve().parents[2]
COPY = System("copied", "copied", ("baseline", "--system", "copy"))


def _speech(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    wav, rate = soundfile.read(ROOT / "tests/data/403-126855-0000.flac", stop=8000 + 1000 * len(names))
    for name in names:
        soundfile.write(folder / f"{name}.wav", wav, rate)
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(COPY, _speech(tmp_path / "reference", "1-2-3", "4-5-6"), tmp_path / "out", "cpu")


def _is_made(work: Work, resume: bool) -> bool:
    """Whether the outputs were made again, by a mark that goes with the folder."""
    mark = work.output / "mark"
    mark.touch()
    make_all([work], resume)
    return not mark.exists()


def test_what_is_done_is_kept_and_only_if_asked(work: Work, capsys: pytest.CaptureFixture[str]) -> None:
    make_all([work], resume=True)
    assert {path.name for path in work.output.glob("*.wav")} == {"1-2-3.wav", "4-5-6.wav"}
    assert not _is_made(work, resume=True)
    assert "kept: copied (out)" in capsys.readouterr().err
    assert _is_made(work, resume=False)


def test_what_is_incomplete_or_of_another_kind_is_made_again(work: Work) -> None:
    make_all([work], resume=True)
    (work.output / "4-5-6.wav").unlink()
    assert _is_made(work, resume=True)
    (work.output / RECORD).unlink()  # as after an interruption
    assert _is_made(work, resume=True)
    (work.output / RECORD).write_text("{")
    assert _is_made(work, resume=True)
    other = System("copied", "copied", ("baseline", "--system", "copy", "--iterations", "7"))
    assert _is_made(Work(other, work.reference, work.output, "cpu"), resume=True)
    assert _is_made(work, resume=True)
    _speech(work.reference, "1-2-3")  # a recording of the same name
    assert _is_made(work, resume=True)
    assert not _is_made(work, resume=True)


def test_another_checkpoint_of_the_same_name_makes_other_outputs(tmp_path: Path, work: Work) -> None:
    checkpoint = tmp_path / "model"
    shutil.copytree(ROOT / "diffwave/assets/default", checkpoint)
    system = System("x", "x", ("synthesize", "--checkpoint", str(checkpoint)))
    before = Work(system, work.reference, work.output, "cpu").request()
    assert Work(system, work.reference, work.output, "cpu").request() == before
    (checkpoint / "config.json").write_text("{}")
    assert Work(system, work.reference, work.output, "cpu").request() != before


def test_other_code_is_told_and_a_failure_leaves_no_record(
    work: Work, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quality_synthesis, "commit", lambda: "one")
    make_all([work], resume=True)
    monkeypatch.setattr(quality_synthesis, "commit", lambda: "two")
    make_all([work], resume=True)
    assert "made by other code (one)" in capsys.readouterr().err
    monkeypatch.setattr(quality_synthesis, "run_diffwave", lambda *_: 2)
    with pytest.raises(SystemExit, match="exit code 2"):
        make_all([work], resume=False)
    assert work.record() == {}
    assert not work.is_done()


def test_everything_is_synthesized_before_anything_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the split and of other corpora, which must not be spoken between two scorings; and again nothing is."""
    data, spoken = tmp_path / "data", list[str]()
    _speech(data / "test-clean", "1-2-3", "4-5-6")
    _speech(tmp_path / "other/tongue", "xx")
    splits = tmp_path / "recipes/librispeech/splits"
    splits.mkdir(parents=True)
    (splits / "test.txt").write_text("test-clean/1-2-3.wav\ntest-clean/4-5-6.wav\n")

    def speak(*words: str | Path) -> int:
        arguments = [str(word) for word in words]
        folder = Path(arguments[arguments.index("--output") + 1])
        spoken.append(folder.relative_to(tmp_path / "outputs/quality-test").as_posix())
        reference = Path(arguments[2] if arguments[1] == "--reference" else arguments[1])
        for key, path in audio_files(reference, "--reference").items():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / f"{key}.wav")
        return 0

    class ScoringError(Exception):
        pass

    def score(*_: Any) -> None:
        raise ScoringError

    monkeypatch.setattr(quality, "ROOT", tmp_path)
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(quality_synthesis, "run_diffwave", speak)
    monkeypatch.setattr(quality, "evaluate", score)
    arguments = ["--data", str(data), "--split", "test", "--other", str(tmp_path / "other"), "--device", "cpu"]
    quality.main([*arguments, "--only", "synthesize"])
    # 14 systems of the split, 4 of the corpus.
    assert len(spoken) == len(set(spoken)) == 18
    assert spoken[0] == "default"
    assert spoken[14:] == [
        f"other-corpora/tongue/{name}" for name in ("default", "network-alone", "as-many-from-noise", "Griffin-Lim")
    ]
    with pytest.raises(ScoringError):
        quality.main([*arguments, "--resume"])
    assert len(spoken) == 18


def test_a_command_runs_in_a_process_of_its_own_and_tells_how_it_ended(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert report.run_diffwave("baseline", "--reference", nowhere, "--output", tmp_path, "--system", "copy") == 2
