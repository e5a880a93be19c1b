"""Folders of short recordings and of two made-up systems, for the tests of exported listening tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

DATA = Path(__file__).parent / "data"
RATE = 16000
# Long enough to be found by chance in no file.
SYSTEMS = ("hissing-vocoder", "muffled-vocoder")
ITEMS = ("ash/first-sentence", "ash/second-sentence", "birch/third-sentence", "birch/fourth-sentence")


def speech() -> list[np.ndarray]:
    """As many pieces of speech of .8 to 1.1 s as there are items."""
    short, long = (soundfile.read(DATA / f"{name}.flac")[0] for name in ("403-126855-0000", "839-130898-0000"))
    cuts = [short[1600:14400], short[14400:], long[8000:24000], long[24000:41600]]
    return [cut.astype(np.float64) for cut in cuts]


def write(path: Path, wav: np.ndarray, rate: int = RATE) -> None:
    """Write a WAV file below folders that need not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wav, rate, subtype="PCM_16")


def make_folders(root: Path) -> dict[str, Path]:
    """Write ``recordings/`` and a folder of each system; returns them by name, "reference" among them."""
    random = np.random.default_rng(7)
    for item, wav in zip(ITEMS, speech(), strict=True):
        write(root / "recordings" / f"{item}.wav", wav)
        write(root / SYSTEMS[0] / f"{item}.wav", 0.5 * (wav + 0.01 * random.standard_normal(len(wav))))
        write(root / SYSTEMS[1] / f"{item}.wav", np.convolve(wav, np.ones(5) / 5, "same"))
    return {"reference": root / "recordings", **{name: root / name for name in SYSTEMS}}
