from __future__ import annotations

from pathlib import Path

import pytest

from diffwave.cli.main import main
from diffwave.listening.documents import load_test
from recordings import SYSTEMS, make_folders


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    folders = make_folders(tmp_path)
    systems = [f"--system={name}={folders[name]}" for name in SYSTEMS]
    output = ["--output", str(tmp_path / "out")]
    return ["--reference", str(folders["reference"]), *systems, "--items", "2", "--seed", "3", *output]


def run(*arguments: str) -> int:
    return main(["listen", "export", *arguments])


def test_says_what_to_send_and_what_to_keep(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "--method", "mushra", "--anchors", "none", "--anchor70", "--name", "pilot") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "pilot: mushra, 2 trials, 15 stimuli"
    assert f"send  {tmp_path}/out/index.html (" in captured.out
    assert f"keep  {tmp_path}/out/private (the key)" in captured.out
    assert "anchor70 has nearly everything that there is at 16000 Hz" in captured.err
    assert {s.system for s in load_test(tmp_path / "out").stimuli} == {"reference", "anchor70", *SYSTEMS}


def test_default_anchors_are_those_of_the_method(arguments: list[str], tmp_path: Path) -> None:
    assert run(*arguments, "--method", "acr") == 0
    found = {s.system for s in load_test(tmp_path / "out").stimuli}
    assert {"anchor35", "griffin-lim"} <= found


def test_webmushra_is_left_out_for_pairs_and_said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments, "--method", "ab") == 0
    assert "diffwave listen export: webMUSHRA cannot run ab: no webmushra/ folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--method", "mushra", "--items", "9"], "--items 9: expected at most 4"),
        (["--method", "mushra", "--system", "a=x", "--system", "a=y"], "expected each name once; got a twice"),
        (["--method", "mushra", "--reference", "/nowhere"], "/nowhere: expected a folder with audio"),
        (["--method", "mushra", "--max-seconds", "60"], "--max-seconds: expected 1 to 12 seconds; got 60"),
        (["--method", "ab", "--anchor70"], "--anchors: expected none with ab; got anchor70"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert run(*arguments, *more) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("diffwave")]
    assert len(lines) == 1
    assert lines[0].startswith("diffwave listen export: ")
    assert said in lines[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [["--method", "mos"], ["--method", "ab", "--system", "noname"], []])
def test_arguments_that_do_not_parse_end_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(*arguments, *more)
    assert "diffwave listen export --help explains" in capsys.readouterr().err


def test_an_output_that_cannot_be_made_is_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert run(*arguments, "--method", "ab", "--output", str(tmp_path / "file" / "out")) == 2
    assert "cannot be read or written" in capsys.readouterr().err


def test_the_dispatcher_knows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["listen", "--help"]) == 0
    assert "export" in capsys.readouterr().out
    assert main(["listen"]) == 2
    assert main(["listen", "dance"]) == 2
    assert "expected a command (export, serve, analyze); got 'dance'" in capsys.readouterr().err


def test_the_seed_has_a_default(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = arguments.index("--seed")
    without = arguments[:at] + arguments[at + 2 :]
    assert run(*without, "--method", "ab", "--items", "1") == 0
    assert load_test(tmp_path / "out").seed == 0
    assert ": ab, 1 trial, " in capsys.readouterr().out
