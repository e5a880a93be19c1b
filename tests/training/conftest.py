"""A small corpus, and a run on it that takes a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffwave.config import TrainingConfig
from diffwave.config.composing import compose_config
from runs import Configure
from training_overrides import SMALL


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three utterances of a gliding buzz, each another speaker."""
    root = tmp_path_factory.mktemp("corpus")
    for number, samples in enumerate((9000, 12000, 7001)):
        rng = np.random.default_rng(number)
        time = np.arange(samples) / 16000
        phase = 2 * np.pi * np.cumsum(120 + 30 * number + 20 * np.sin(9 * time)) / 16000
        wav = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.abs(np.sin(11 * time)) * 0.15
        folder = root / f"speaker{number}"
        folder.mkdir()
        soundfile.write(folder / "a.flac", wav + 0.002 * rng.standard_normal(samples), 16000)
    return root


@pytest.fixture
def configure(corpus: Path, tmp_path: Path) -> Configure:
    def make(*overrides: str, run: str = "run") -> TrainingConfig:
        return compose_config([*SMALL, f"data.root={corpus}", f"run_dir={tmp_path / run}", *overrides])

    return make
