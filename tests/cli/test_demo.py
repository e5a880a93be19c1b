"""``diffwave demo``, with a tiny model in the place of the packaged one."""

from __future__ import annotations

import soundfile

from diffwave.assets import bundled_utterance
from diffwave.checkpoint.folder import load_checkpoint
from diffwave.cli.main import main
from diffwave.vocoder import Vocoder


def test_the_bundled_recording_is_there():
    info = soundfile.info(bundled_utterance())
    assert (info.samplerate, info.channels) == (16000, 1)


def test_demo_writes_and_scores(tmp_path, tiny_checkpoint, monkeypatch, capsys):
    vocoder = Vocoder(load_checkpoint(tiny_checkpoint), "cpu")
    monkeypatch.setattr(Vocoder, "from_pretrained", lambda name, device: vocoder)
    for _ in range(2):  # a second time replaces the output
        assert main(["demo", "--output", str(tmp_path / "out")]) == 0
    assert soundfile.info(tmp_path / "out" / "utterance.wav").frames == soundfile.info(bundled_utterance()).frames
    lines = capsys.readouterr().out.splitlines()
    values = dict(line.split("  ", 1) if "factor" not in line else line.rsplit(" ", 1) for line in lines[-6:])
    assert float(values["real-time factor"]) > 0
    assert 1 <= float(values["PESQ-WB"]) <= 4.65
    assert -1 <= float(values["STOI"]) <= 1


def test_an_output_folder_that_cannot_be(tmp_path, tiny_checkpoint, monkeypatch, capsys):
    vocoder = Vocoder(load_checkpoint(tiny_checkpoint), "cpu")
    monkeypatch.setattr(Vocoder, "from_pretrained", lambda name, device: vocoder)
    (tmp_path / "file").touch()
    assert main(["demo", "--output", str(tmp_path / "file" / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected a folder that can be written" in line
