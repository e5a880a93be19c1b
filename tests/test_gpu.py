"""The same numbers on a GPU; skipped where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from diffwave.audio import read_audio
from diffwave.cli.main import main
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


@pytest.mark.gpu
def test_spectral_scores_on_a_gpu_equal_those_of_the_workers(tmp_path: Path) -> None:
    """The whole command, with spectral metrics in batches on the GPU and PESQ in the workers meanwhile."""
    speech = Path(__file__).parent / "data"
    rows = {}
    for device in ("cpu", "cuda"):
        report = tmp_path / device
        estimate = f"copy={speech}"
        arguments = ["--reference", str(speech), "--estimate", estimate, "--report", str(report), "--floor", "2"]
        assert main(["evaluate", *arguments, "--device", device]) == 0
        summary = json.loads((report / "summary.json").read_text())
        rows[device] = {s["name"]: s["scores"] for s in summary["systems"]}
    for system, scores in rows["cpu"].items():
        for name, score in scores.items():
            if score["n"]:
                assert rows["cuda"][system][name]["mean"] == pytest.approx(score["mean"], rel=1e-3, abs=1e-4), name
