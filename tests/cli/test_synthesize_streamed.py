"""``diffwave synthesize --chunk-seconds``: the same bytes in little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

# A process of its own: what PyTorch takes for itself is measured before the long file.
_PEAK = """
import resource, sys
from diffwave.cli.main import main
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
checkpoint, short, long, output = sys.argv[1:]
choices = ["--checkpoint", checkpoint, "--device", "cpu", "--chunk-seconds", "2", "--force", "--output", output]
assert main(["synthesize", short, *choices]) == 0
before = peak()
assert main(["synthesize", long, *choices]) == 0
print("grown", peak() - before)
"""


@pytest.mark.parametrize("seconds", ["0.02", "0.3", "60"])
def test_the_bytes_are_the_same_for_every_kind_of_input(synthesize, inputs, tmp_path, speech, speech_mel, seconds):
    long = np.tile(speech, 3)
    soundfile.write(inputs / "a.flac", long[:40001], 16000)
    soundfile.write(inputs / "b.wav", np.stack([np.repeat(long, 3)] * 2, axis=1), 48000)
    np.save(inputs / "c.npy", speech_mel)
    synthesize(inputs, "--output", tmp_path / "whole", "--consistency", "3")
    outcome = synthesize(inputs, "--output", tmp_path / "chunks", "--consistency", "3", "--chunk-seconds", seconds)
    assert outcome.code == 0
    assert "mixed down from 2 channels, resampled from 48000" in outcome.stdout
    names = ("a.wav", "b.wav", "c.wav")
    assert sorted(path.name for path in (tmp_path / "chunks").glob("*.wav")) == list(names)
    for name in names:
        assert (tmp_path / "chunks" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_is_wrong_is_one_line_and_the_others_are_done(synthesize, inputs, output, speech, speech_mel):
    soundfile.write(inputs / "good.wav", speech, 16000)
    soundfile.write(inputs / "short.wav", speech[:1000], 16000)
    soundfile.write(inputs / "loud.wav", speech * 32768, 16000, subtype="FLOAT")
    late = np.tile(speech, 40)
    late[-5] = np.nan
    soundfile.write(inputs / "late.wav", late, 16000, subtype="FLOAT")
    (inputs / "text.wav").write_text("no audio")
    np.save(inputs / "linear.npy", np.exp(speech_mel) + 3)
    outcome = synthesize(inputs, "--chunk-seconds", "0.5")
    assert outcome.code == 2
    assert sorted(path.name for path in output.iterdir()) == ["good.wav", "synthesis.json"]
    for name, reason in {
        "short.wav": "at least one frame, 1024 samples",
        "loud.wav": r"samples in [-1, 1]",
        "late.wav": "finite samples",
        "text.wav": "libsndfile",
        "linear.npy": "expected a mel",
    }.items():
        (line,) = [line for line in outcome.errors if name in line]
        assert reason in line
        assert line.count(name) == 1


def test_an_output_that_cannot_be_written_is_one_line(synthesize, inputs, output, speech, monkeypatch):
    from diffwave.audio.stream import WavWriter

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    soundfile.write(inputs / "a.wav", speech, 16000)
    monkeypatch.setattr(WavWriter, "write", full)
    outcome = synthesize(inputs, "--chunk-seconds", "0.5")
    assert outcome.code == 2
    assert "a.wav cannot be written; No space left on device" in outcome.errors[0]
    assert list(output.glob("*.wav")) == []
    assert list(output.glob(".*")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux counts it")
def test_memory_does_not_grow_with_the_length(tiny_checkpoint: Path, inputs, output, speech):
    soundfile.write(inputs / "short.wav", np.tile(speech, 20), 16000)
    soundfile.write(
        inputs / "long.wav", np.tile(speech, 10 * 60), 16000
    )  # 10 minutes: 38 MB in float32, and the output
    command = [sys.executable, "-c", _PEAK, tiny_checkpoint, inputs / "short.wav", inputs / "long.wav", output]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    grown = float(done.stdout.split("grown")[1])
    assert grown < 30
    assert soundfile.info(output / "long.wav").frames == 10 * 60 * 16000
