"""The same samples as ever, to the bit: what a change of structure must not touch.

Bits depend on the machine: hundreds of iterations of mel consistency make much of a rounding error. So digests are kept
for each kind of machine that somebody has recorded them on, and elsewhere these tests are skipped. After a change that
is meant to alter samples: ``python tests/test_golden.py`` records them anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import diffwave
from diffwave.audio.file import read_audio
from diffwave.kernels.native_library import unavailable
from diffwave.vocoder import Vocoder

RECORDED = Path(__file__).parent / "golden.json"
UTTERANCE = Path(diffwave.__file__).parent / "assets" / "utterance.flac"
SECONDS = 2.0


def machine() -> str:
    """What digests depend on beside the code: instructions, their kernels, and PyTorch's."""
    kernels = "no kernels" if unavailable(torch.device("cpu"), 96) else "native"
    return f"torch {torch.__version__.split('+')[0]}, {torch.backends.cpu.get_cpu_capability()}, {kernels}"


def mel_of(vocoder: Vocoder) -> Tensor:
    wav = read_audio(UTTERANCE, vocoder.sample_rate).wav
    return vocoder.mel(wav[: int(SECONDS * vocoder.sample_rate)])


def streamed(vocoder: Vocoder) -> Tensor:
    return torch.cat(list(vocoder.stream(iter(mel_of(vocoder).split(17, dim=-1)))))


def batched(vocoder: Vocoder) -> Tensor:
    mel = mel_of(vocoder)
    return torch.cat(vocoder.synthesize_batch([mel, mel[:, :40], mel[:, 20:95]], seed=7))


CASES: dict[str, Callable[[Vocoder], Tensor]] = {
    "as it is": lambda v: v.synthesize(mel_of(v)),
    "network alone": lambda v: v.synthesize(mel_of(v), consistency=0),
    "network alone, ddim": lambda v: v.synthesize(mel_of(v), steps=4, sampler="ddim", seed=3, consistency=0),
    "all steps": lambda v: v.synthesize(mel_of(v)[:, :24], steps="full"),
    "dpm++, at the end": lambda v: v.synthesize(mel_of(v), 3, "dpm++", consistency=20, consistency_at="end"),
    "midpoint, between calls": lambda v: v.synthesize(mel_of(v), 4, "midpoint", consistency=20, consistency_at="steps"),
    "no refiner": lambda v: v.synthesize(mel_of(v), refinements=0),
    "stream": streamed,
    "stream, network alone": lambda v: torch.cat(list(v.stream([mel_of(v)], steps=2, consistency=0))),
    "batch": batched,
    "two examples": lambda v: v.synthesize(torch.stack([mel_of(v)[:, :50], mel_of(v)[:, 50:100]]), steps=3),
}


def digest(wav: Tensor) -> str:
    return hashlib.sha256(wav.contiguous().numpy().tobytes()).hexdigest()[:16]


@pytest.fixture(scope="module", params=["default", "10ms"])
def vocoder(request: pytest.FixtureRequest) -> Vocoder:
    return Vocoder.from_pretrained(request.param, device="cpu")


@pytest.mark.parametrize("case", CASES)
def test_same_samples(vocoder: Vocoder, case: str) -> None:
    recorded = json.loads(RECORDED.read_text()).get(machine())
    if recorded is None:
        pytest.skip(f"digests were not recorded on a machine like this one ({machine()})")
    assert digest(CASES[case](vocoder)) == recorded[checkpoint_name(vocoder)][case]


def checkpoint_name(vocoder: Vocoder) -> str:
    return "10ms" if vocoder.hop_length == 160 else "default"


def record() -> None:
    """Write this machine's digests."""
    torch.set_num_threads(1)
    digests = {}
    for name in ("default", "10ms"):
        vocoder = Vocoder.from_pretrained(name, device="cpu")
        digests[name] = {case: digest(speak(vocoder)) for case, speak in CASES.items()}
    known = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    RECORDED.write_text(json.dumps({**known, machine(): digests}, indent=1) + "\n")


if __name__ == "__main__":
    record()
