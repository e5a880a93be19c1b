"""``diffwave mels``, and ``--mel`` at every command that takes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffwave.cli.main import main
from diffwave.config import CONVENTIONS, mel_convention

# Command -> arguments that would do but for --mel; OUT is a folder that must not come to be.
ENTRANCES = {
    "synthesize": ["in.wav", "--output", "OUT"],
    "synthesize-corpus": [".", "--output", "OUT"],
    "serve": [],
    "search-schedule": ["in.wav", "--checkpoint", "default", "--output", "OUT"],
    "bench": ["--output", "OUT"],
    "baseline": ["--reference", ".", "--output", "OUT", "--system", "mel-consistency"],
    "evaluate": ["--reference", ".", "--estimate", ".", "--report", "OUT"],
}
# What a file holds, or a name -> what the line must say.
BAD = {
    "vocos": "did you mean vocos-24k?",
    "y": "got 'y'; `diffwave mels` lists them",
    "missing.json": "No such file",
    "no JSON": "got no JSON",
    '["vocos-24k"]': "got list",
    '{"sample_rat": 16000}': "did you mean mel.sample_rate?",
    '{"sample_rate": "16 kHz"}': "mel.sample_rate: expected int",
    '{"sample_rate": 4000, "f_max": 2000}': "expected 8000 to 192000 Hz; got 4000",
    '{"hop_length": 600}': "a hop of at most half the window; got 600 and 1024 samples",
    '{"log": "nepers"}': "mel.log must be one of",
    '{"axes": "sideways"}': "axes must be one of",
    '{"mean": [NaN]}': "mel.mean: expected finite numbers",
    '{"n_fft": 1000000, "win_length": 1000000}': "n_fft of at most",
}


@pytest.mark.parametrize("command", ENTRANCES)
@pytest.mark.parametrize("given", BAD)
def test_what_is_no_convention_is_one_line_at_every_command(command, given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("in.wav").touch()
    if given[0] in "[{" or given == "no JSON":
        Path("mine.json").write_text(given)
        given, said = "mine.json", BAD[given]
    else:
        said = BAD[given]
    with pytest.raises(SystemExit) as stop:
        main([command, *ENTRANCES[command], "--mel", given])
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    assert line.startswith(f"diffwave {command}: argument --mel: ")
    assert said in line
    assert not Path("OUT").exists()


def test_it_is_said_before_pytorch_is_there():
    program = (
        "import sys\nfrom diffwave.cli.main import main\ntry: main(['synthesize', 'a.npy', '-o', 'x', '--mel', 'y'])"
    )
    program += "\nexcept SystemExit as stop: assert stop.code == 2\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_the_table_names_all(capsys):
    assert main(["mels"]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == list(CONVENTIONS)
    assert all(convention.of in line for line, convention in zip(lines, CONVENTIONS.values(), strict=True))


@pytest.mark.parametrize("name", CONVENTIONS)
def test_what_is_printed_of_one_is_a_file_of_it(name, tmp_path, capsys):
    assert main(["mels", name]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "mine.json").write_text(printed)
    read = mel_convention(tmp_path / "mine.json")
    assert (read.mel, read.axes) == (CONVENTIONS[name].mel, CONVENTIONS[name].axes)
    assert CONVENTIONS[read.name].mel == read.mel  # a name of the list, so that records name it


def test_a_file_of_another_is_called_what_it_is_called(tmp_path):
    settings = {**CONVENTIONS["vocos-24k"].document(), "hop_length": 240}
    (tmp_path / "vocos-24k.json").write_text(json.dumps(settings))
    read = mel_convention(tmp_path / "vocos-24k.json")
    assert read.name == "vocos-24k.json"  # not that of the list
    assert read.record() == {"mel": "vocos-24k.json", "mel_convention": settings | {"mean": (), "scale": ()}}
