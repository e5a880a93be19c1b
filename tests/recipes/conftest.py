"""A corpus like LibriSpeech, of the speech in this repository."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three utterances of three speakers to learn from, and one of test-clean, each a second long."""
    short, long = (REPOSITORY / f"tests/data/{name}.flac" for name in ("403-126855-0000", "839-130898-0000"))
    for name, source, start in (
        ("train-clean-100/403/1/403-1-0000", short, 1600),
        ("train-clean-100/839/1/839-1-0000", long, 8000),
        ("train-clean-100/61/1/61-1-0000", long, 24000),
        ("test-clean/908/1/908-1-0000", REPOSITORY / "diffwave/assets/utterance.flac", 16000),
    ):
        wav, rate = soundfile.read(source, start=start, stop=start + 16000)
        (tmp_path / "LibriSpeech" / name).parent.mkdir(parents=True)
        soundfile.write(tmp_path / "LibriSpeech" / f"{name}.flac", wav, rate)
    return tmp_path / "LibriSpeech"
