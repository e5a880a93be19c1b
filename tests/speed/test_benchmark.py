"""What is timed: speech of any length, new networks, mel consistency."""

from __future__ import annotations

from pathlib import Path

import torch

from diffwave.speed import benchmark
from diffwave.speed.benchmark import BenchSettings, measure_case, speech_mel
from diffwave.speed.timing import MachineLimits
from diffwave.vocoder import Vocoder

LIMITS = MachineLimits(operations=1e11, traffic=1e10)


def test_consistency_is_timed_but_has_no_roofline(tiny_checkpoint: Path) -> None:
    vocoder = Vocoder.from_pretrained(tiny_checkpoint, "cpu", backend="reference")
    mel = speech_mel(vocoder, 0.05).unsqueeze(0)
    row = measure_case(vocoder, mel, 2, 3, BenchSettings(repeats=1), LIMITS)
    assert row.consistency == 3
    assert row.wall is not None
    assert row.best is row.reached is None


def test_a_new_network_of_every_configuration() -> None:
    assert benchmark._untrained("base").config.network.residual_channels == 64
    assert benchmark._untrained("large").config.diffusion.steps == 200
    assert benchmark._untrained("fast").config.network.squeeze == 8


def test_speech_of_any_length(tiny_checkpoint: Path) -> None:
    vocoder = Vocoder.from_pretrained(tiny_checkpoint, "cpu")
    assert speech_mel(vocoder, 1e-6).shape == (80, 1)
    long, short = speech_mel(vocoder, 12.0), speech_mel(vocoder, 1.0)
    assert long.shape == (80, 750)
    assert torch.equal(long[:, : short.shape[1]], short)
