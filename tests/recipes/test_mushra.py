"""The final listening test, of two short utterances."""

from __future__ import annotations

import csv
import shlex
import shutil
from collections import Counter
from pathlib import Path

import pytest

import mushra
from diffwave.cli.main import main as diffwave

NAMES = ("train-clean-100/403/1/403-1-0000.flac", "train-clean-100/839/1/839-1-0000.flac")


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "list.txt"
    path.write_text("\n".join(NAMES))
    return path


def arguments(root: Path, listed: Path, *more: str) -> list[str]:
    return ["--data", str(root), "--list", str(listed), "--output", str(root.parent / "out"), "--items", "1", *more]


def test_a_command_runs_and_its_code_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    assert mushra.diffwave(["--version"]) == 0
    assert capfd.readouterr().out.startswith("diffwave ")
    assert mushra.diffwave(["synthesise"]) == 2


def test_two_utterances_become_a_test_that_can_be_sent(
    root: Path, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mushra, "diffwave", diffwave)  # in this process: PyTorch need not be loaded three times
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in NAMES:
        shutil.copyfile(root / name, theirs / Path(name).name)
    assert mushra.main(arguments(root, listed, "--device", "cpu", "--system", f"other={theirs}")) == 0
    shown = [line.split()[2] for line in capsys.readouterr().err.splitlines() if line.startswith("+ diffwave")]
    assert shown == ["synthesize", "baseline", "listen"]
    test = tmp_path / "out/test"
    assert (test / "index.html").stat().st_size > 10_000
    with (test / "private/key.csv").open(newline="") as file:
        key = list(csv.DictReader(file))
    assert len({row["item"] for row in key}) == 1
    assert Counter((row["system"], row["kind"]) for row in key) == {
        ("reference", "reference"): 2,  # to compare with, and hidden
        ("diffwave", "system"): 1,
        ("griffin-lim-60", "system"): 1,
        ("other", "system"): 1,
        ("anchor35", "anchor"): 1,
    }
    # Nobody loses a key by accident, and nothing is synthesized for nothing.
    assert mushra.main(arguments(root, listed)) == 2
    assert "--force replaces it" in capsys.readouterr().err


def test_what_is_printed_can_be_typed(
    root: Path, listed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = list[list[str]]()
    monkeypatch.setattr(mushra, "diffwave", lambda command: run.append(command) or 0)
    assert mushra.main(arguments(root, listed, "--force", "--seed", "7")) == 0
    shown = [shlex.split(line.removeprefix("+ diffwave ")) for line in capsys.readouterr().err.splitlines()]
    assert shown == run
    assert run[1][run[1].index("--mel") + 1] == "default"
    assert run[2][-1] == "--force"
    assert "7" in run[2]
    assert diffwave(run[1]) == 0
    assert len(list((root.parent / "out/systems/griffin-lim-60").glob("*.wav"))) == 2


def test_griffin_lim_starts_from_mels_as_fine_as_the_checkpoints(
    root: Path, listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = list[list[str]]()
    monkeypatch.setattr(mushra, "diffwave", lambda command: run.append(command) or 0)
    assert mushra.main(arguments(root, listed, "--checkpoint", "10ms")) == 0
    assert run[1][run[1].index("--mel") + 1] == "10ms"


def test_a_command_that_fails_ends_it(
    root: Path, listed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mushra, "diffwave", lambda command: 3 if command[0] == "baseline" else 0)
    assert mushra.main(arguments(root, listed)) == 3
    assert capsys.readouterr().err.splitlines()[-1] == "mushra.py: diffwave baseline ended with code 3"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--items", "3"), "--items: expected 1 to 2"),
        (("--items", "0"), "--items: expected 1 to 2"),
        (("--system", "diffwave=."), "expected each name once, and neither diffwave nor griffin-lim-60; got diffwave"),
        (("--checkpoint", "nowhere"), "nowhere: expected a checkpoint folder"),
        (("--system", "other=nowhere"), "--system other: expected a folder of audio; there is no nowhere"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(
    root: Path, listed: Path, more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mushra.main(arguments(root, listed, *more)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mushra.py: ")
    assert message in line
    assert not (root.parent / "out").exists()


def test_a_recording_that_is_not_there_is_named(root: Path, listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / NAMES[1]).unlink()
    assert mushra.main(arguments(root, listed)) == 2
    assert "expected the utterance 839-1-0000.flac" in capsys.readouterr().err


def test_links_of_another_list_go(root: Path, listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mushra, "diffwave", lambda _: 0)
    assert mushra.main(arguments(root, listed)) == 0
    listed.write_text(NAMES[1])
    assert mushra.main(arguments(root, listed)) == 0
    assert [path.name for path in (root.parent / "out/reference").iterdir()] == ["839-1-0000.flac"]
