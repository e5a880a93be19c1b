"""The same numbers on a GPU; skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffwave.audio import read_audio
from diffwave.vocoder import Vocoder

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
SPEECH = Path(__file__).parent / "data" / "403-126855-0000.flac"


def test_gpu_speaks_as_the_cpu_does() -> None:
    wav = read_audio(SPEECH).wav
    outputs = []
    for device in ("cpu", "cuda"):
        vocoder = Vocoder.from_pretrained("default", device)
        outputs.append(vocoder.synthesize(vocoder.mel(wav), consistency=0).cpu())
    # TF32 convolutions, PyTorch's default on a GPU, keep about three digits.
    assert float((outputs[0] - outputs[1]).norm() / outputs[0].norm()) < 0.02


def test_a_batch_on_a_gpu_equals_one_by_one() -> None:
    vocoder = Vocoder.from_pretrained("default", "cuda")
    mels = [vocoder.mel(read_audio(SPEECH).wav[:length]) for length in (30000, 12000)]
    together = vocoder.synthesize_batch(mels, consistency=0)
    for mel, output in zip(mels, together, strict=True):
        alone = vocoder.synthesize(mel, consistency=0)
        assert float((output - alone).norm() / alone.norm()) < 0.02
