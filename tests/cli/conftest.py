"""Fixtures for the commands: short speech, its mel, and a way to call ``diffwave synthesize``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from diffwave.cli.main import main
from diffwave.config import MelConfig
from diffwave.mel.spectrogram import MelSpectrogram

SPEECH = Path(__file__).parents[1] / "data" / "403-126855-0000.flac"


@dataclass(frozen=True)
class Outcome:
    """What a call left: exit code, stdout, and stderr line by line."""

    code: int
    stdout: str
    errors: list[str]


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """One second of speech at 16 kHz."""
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    assert rate == 16000
    return samples[8000:24000]


@pytest.fixture(scope="session")
def speech_mel(speech: np.ndarray) -> np.ndarray:
    """The mel of ``speech`` in the tiny checkpoint's convention, ``[80, 63]``."""
    padded = np.pad(speech, (0, -len(speech) % 256))
    return MelSpectrogram(MelConfig())(torch.from_numpy(padded)[None])[0].numpy()


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """An empty folder for inputs."""
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder for outputs, which is not there yet."""
    return tmp_path / "out"


@pytest.fixture
def synthesize(tiny_checkpoint: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the command with the tiny checkpoint and ``output``; later arguments win."""

    def call(*arguments: object) -> Outcome:
        always = ["--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--output", str(output)]
        capsys.readouterr()
        code = main(["synthesize", *always, *(str(argument) for argument in arguments)])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err.splitlines())

    return call
