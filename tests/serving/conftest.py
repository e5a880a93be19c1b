"""A tiny vocoder, requests for it, and servers in threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from diffwave.serving.limits import Limits
from diffwave.vocoder import Vocoder
from services import Served, encoded, npy, serving

SPEECH = Path(__file__).parents[1] / "data" / "403-126855-0000.flac"


@pytest.fixture(scope="session")
def vocoder(tiny_checkpoint: Path) -> Vocoder:
    return Vocoder.from_pretrained(tiny_checkpoint, device="cpu", backend="reference")


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """Half a second at 16 kHz, not a whole number of frames."""
    samples, _ = soundfile.read(SPEECH, dtype="float32")
    return samples[8000:16000]


@pytest.fixture(scope="session")
def wav_bytes(speech: np.ndarray) -> bytes:
    return encoded(speech, 16000)


@pytest.fixture(scope="session")
def mel(vocoder: Vocoder, speech: np.ndarray) -> np.ndarray:
    """The mel of ``speech``, ``[80, 32]``."""
    return vocoder.mel(torch.from_numpy(speech)).numpy()


@pytest.fixture(scope="session")
def npy_bytes(mel: np.ndarray) -> bytes:
    return npy(mel)


@pytest.fixture(scope="session")
def served(vocoder: Vocoder) -> Iterator[Served]:
    """A service with small limits that many tests share."""
    for package in ("fastapi", "uvicorn", "prometheus_client", "httpx"):
        pytest.importorskip(package, reason="diffwave serve needs it (extra: serve)")
    limits = Limits(audio_seconds=5, stream_audio_seconds=8, body_bytes=1 << 20, json_bytes=1 << 17, idle_seconds=1)
    with serving(vocoder, limits) as running:
        yield running
