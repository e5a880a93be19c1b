"""``diffwave show-diffusion``: the numbers, the picture, and when nothing is written."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffwave.cli.main import main
from diffwave.rendering import diffusion_picture as figures


@pytest.fixture
def recording(tmp_path: Path, speech: np.ndarray) -> Path:
    path = tmp_path / "speech.wav"
    soundfile.write(path, speech, 16000)
    return path


@pytest.fixture
def show(tiny_checkpoint: Path, recording: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple]:
    """Call the command; returns exit code and the lines on stderr."""

    def call(*arguments: object) -> tuple[int, list[str]]:
        always = [str(recording), "--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--steps", "3"]
        code = main(["show-diffusion", *always, *map(str, arguments)])
        return code, capsys.readouterr().err.splitlines()

    return call


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def test_picture_and_numbers(show, tmp_path):
    assert show("--output", tmp_path / "a.png") == (0, [])
    assert png_size(tmp_path / "a.png") == (round(2.3 * 4 * 110), 836)  # a column for each level and one more
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["sample_rate"] == 16000
    levels = document["levels"]
    assert [level["step"] for level in levels] == [None, 0, 24, 49]
    shares = [level["alpha_bar"] for level in levels]
    assert all(a > b for a, b in itertools.pairwise(shares))
    assert all(level["forward_rms"] > 0 and level["backward_rms"] > 0 for level in levels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.png", "speech.wav"]


@pytest.mark.parametrize(("suffix", "magic"), [("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_other_formats(show, tmp_path, suffix, magic):
    assert show("--output", tmp_path / f"a.{suffix}")[0] == 0
    assert (tmp_path / f"a.{suffix}").read_bytes().startswith(magic)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output", "a.jpg"], "expected a .png, .svg or .pdf"),
        (["--output", "nowhere/a.png"], "expected an existing folder"),
        (["--output", "folder.png"], "it is a folder"),
        (["--output", "there.png"], "--force replaces it"),
        (["--output", "figures.png"], "figures.json exists; --force"),
        (["--output", "a.png", "--steps", "51"], "1 to 50 steps"),
        (["--output", "a.png", "--steps", "full"], "at most 20"),
        (["--output", "a.png", "--checkpoint", "nowhere"], "no such folder"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(show, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "there.png").write_bytes(b"old")
    (tmp_path / "figures.json").write_bytes(b"old")
    before = sorted(tmp_path.iterdir())
    code, lines = show(*arguments)
    assert (code, len(lines)) == (2, 1)
    assert said in lines[0]
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.png").read_bytes() == (tmp_path / "figures.json").read_bytes() == b"old"


@pytest.mark.parametrize(("factor", "length", "said"), [(1, 1000, "at least 1024 samples"), (1e5, 8192, "expected")])
def test_recordings_that_cannot_be_shown(show, recording, tmp_path, speech, factor, length, said):
    soundfile.write(recording, speech[:length] * factor, 16000, subtype="FLOAT")
    code, lines = show("--output", tmp_path / "a.png")
    assert (code, len(lines)) == (2, 1)
    assert str(recording) in lines[0]
    assert said in lines[0]
    assert not (tmp_path / "a.png").exists()


def test_force_replaces(show, tmp_path):
    (tmp_path / "a.png").write_bytes(b"old")
    assert show("--output", tmp_path / "a.png", "--force")[0] == 0
    assert png_size(tmp_path / "a.png")[1] == 836


def test_a_full_disk_leaves_the_old_picture(show, tmp_path, monkeypatch):
    def full(_, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures, "draw_story", full)
    (tmp_path / "a.png").write_bytes(b"old")
    code, lines = show("--output", tmp_path / "a.png", "--force")
    assert (code, len(lines)) == (2, 1)
    assert "No space left on device" in lines[0]
    assert (tmp_path / "a.png").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "speech.wav"]


def test_seconds_are_whole_frames(show, tmp_path):
    assert show("--output", tmp_path / "a.png", "--seconds", "0.3")[0] == 0


def test_the_shortest_recording(show, recording, tmp_path, speech):
    soundfile.write(recording, speech[:1030], 16000)
    assert show("--output", tmp_path / "a.png", "--seconds", "0.001")[0] == 0
