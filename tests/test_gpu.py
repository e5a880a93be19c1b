"""The same numbers on a GPU; skipped where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffwave.audio.file import read_audio
from diffwave.cli.main import main
from diffwave.config.composing import compose_config
from diffwave.dsp.noise import philox, white_noise
from diffwave.vocoder import Vocoder
from runs import curve, history, same_training, train
from training_overrides import SMALL

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
DATA = Path(__file__).parent / "data"
SPEECH = DATA / "403-126855-0000.flac"
ON_GPU = [*SMALL, f"data.root={DATA}", "train.device=cuda"]


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


def test_noise_is_the_same_integers_and_nearly_the_same_numbers() -> None:
    number, keys = torch.arange(1 << 16), [(round_ * 77, 2**32 - 1 - round_) for round_ in range(10)]
    counter = [number, number * 3, number * 65537 % 2**32, number * 0 + 2**32 - 1]
    here = philox(counter, keys)
    there = philox([word.cuda() for word in counter], keys)
    assert all(torch.equal(ours, theirs.cpu()) for ours, theirs in zip(here, there, strict=True))
    noise = white_noise(7, 3, 100_001, 2**34 - 50_000, "cuda")
    torch.testing.assert_close(noise.cpu(), white_noise(7, 3, 100_001, 2**34 - 50_000), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["reference", "triton"])
@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 6), ("ddpm", 6), ("ddim", "full")])
def test_a_replayed_graph_equals_the_plain_sampler(backend: str, sampler: str, steps: int | str, caplog) -> None:
    """With another mel, length and seed in every call, so that nothing of an earlier one may be left in the graph."""
    plain = Vocoder.from_pretrained("default", "cuda", backend, graphs=False)
    recorded = Vocoder.from_pretrained("default", "cuda", backend)
    wav = read_audio(SPEECH).wav
    for call, samples in enumerate((16000, 16000, 15700, 15500, 30000)):
        mel = plain.mel(wav[call * 10 : call * 10 + samples])
        expected = plain.synthesize(mel, steps, sampler, seed=call, consistency=0)
        got = recorded.synthesize(mel, steps, sampler, seed=call, consistency=0)
        # As in a batch: sums in another order, and products in bfloat16 or TF32.
        assert float((got - expected).norm() / expected.norm()) < 0.02, call
    assert len(recorded._graphs) == 1
    assert caplog.records == []


def test_a_replayed_batch_equals_the_plain_one_and_is_kept() -> None:
    plain = Vocoder.from_pretrained("default", "cuda", graphs=False)
    recorded = Vocoder.from_pretrained("default", "cuda")
    wav = read_audio(SPEECH).wav
    outputs = []
    for call in range(3):
        mels = [plain.mel(wav[:length]) for length in (30000, 12000 + 300 * call)]
        outputs.append((plain.synthesize_batch(mels, seed=call), recorded.synthesize_batch(mels, seed=call)))
    # Compared at the end: a later replay must not have written into an earlier output.
    for expected, got in outputs:
        for theirs, ours in zip(expected, got, strict=True):
            assert float((ours - theirs).norm() / theirs.norm()) < 0.02
    assert len(recorded._graphs) == 1


def test_a_replay_does_not_wait_for_the_gpu() -> None:
    vocoder = Vocoder.from_pretrained("default", "cuda")
    mel = vocoder.mel(read_audio(SPEECH).wav[:16000])
    way = vocoder.resolve().sampler
    with torch.inference_mode():
        condition = vocoder._denoiser.condition(mel.unsqueeze(0))
        for _ in range(2):
            vocoder._graphs(condition, way, 0)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            vocoder._graphs(condition, way, 1)
            vocoder._denoiser(condition, way, 1, shifts=vocoder._denoiser.shifts(way))
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_memory_of_dropped_graphs_comes_back() -> None:
    vocoder = Vocoder.from_pretrained("default", "cuda")
    mel = vocoder.mel(read_audio(SPEECH).wav)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    for steps in range(1, 6):
        for _ in range(2):
            vocoder.synthesize(mel, steps, consistency=0)
    assert len(vocoder._graphs) == 5
    held = torch.cuda.memory_reserved() - before
    assert vocoder._release()
    assert torch.cuda.memory_reserved() - before < held / 4


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


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_on_a_gpu_stays_close_to_the_cpu(tmp_path: Path, precision: str) -> None:
    # Noise is drawn on the device, so a GPU sees other noise: only the means of many crops can be compared.
    settings = [*SMALL, f"data.root={DATA}", "train.iterations=40", "train.batch_size=16", "train.log_every=40"]
    runs = {}
    for device, kind in (("cpu", "float32"), ("cuda", precision)):
        more = [f"train.device={device}", f"train.precision={kind}", f"run_dir={tmp_path / device}"]
        runs[device] = train(compose_config([*settings, *more]))
    ((_, expected),), ((_, got),) = (history(runs[device], "loss") for device in ("cpu", "cuda"))
    assert got == pytest.approx(expected, rel=0.05)


def test_a_resumed_run_on_a_gpu_is_exact_with_deterministic_algorithms(tmp_path: Path) -> None:
    settings = [*ON_GPU, "train.deterministic=true", "train.precision=bfloat16", "data.workers=1"]
    straight = train(compose_config([*settings, f"run_dir={tmp_path / 'straight'}"]))
    stopped = [*settings, f"run_dir={tmp_path / 'stopped'}"]
    train(compose_config([*stopped, "train.iterations=3"]))
    resumed = train(compose_config(stopped))
    assert same_training(straight / "training-00000006.pt", resumed / "training-00000006.pt")


def test_one_process_of_nccl_is_the_run_without_it(tmp_path: Path) -> None:
    settings = [*ON_GPU, "train.deterministic=true"]
    alone = train(compose_config([*settings, f"run_dir={tmp_path / 'alone'}"]))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    command = [*torchrun, "-m", "diffwave", "train", *settings, f"run_dir={tmp_path / 'torchrun'}"]
    subprocess.run(command, check=True, timeout=200)
    assert curve(alone) == curve(tmp_path / "torchrun")
