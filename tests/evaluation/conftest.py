"""Speech, noisy copies of it, and folders of both."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import metric_plugins

RATE = 16000
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="session")
def clips() -> list[np.ndarray]:
    """Two recordings of two speakers, float32 at 16 kHz, 1.9 and 3.9 s."""
    return [soundfile.read(path, dtype="float32")[0] for path in sorted(DATA.glob("*.flac"))]


@pytest.fixture(scope="session")
def noisy() -> Callable[..., np.ndarray]:
    """A copy of a signal with white noise."""

    def add(wav: np.ndarray, level: float = 0.005, seed: int = 0) -> np.ndarray:
        return (wav + level * np.random.default_rng(seed).standard_normal(len(wav))).astype(np.float32)

    return add


@pytest.fixture
def write() -> Callable[..., Path]:
    """Write 32-bit float WAV files below folders that need not exist."""

    def call(path: Path, wav: np.ndarray, rate: int = RATE) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wav, rate, subtype="FLOAT")
        return path

    return call


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The metrics of :mod:`metric_plugins`, installed; returns the file where ``slow`` writes down its calls."""
    monkeypatch.syspath_prepend(str(metric_plugins.install(tmp_path / "plugins")))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("PID_FILE", str(tmp_path / "pids"))
    (tmp_path / "calls").touch()
    return tmp_path / "calls"


@pytest.fixture
def table() -> Callable[[Path], list[dict[str, str]]]:
    """Rows of a CSV file."""

    def read(path: Path) -> list[dict[str, str]]:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    return read
