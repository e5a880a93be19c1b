"""Checkpoints of other projects, and ONNX: how equal the outputs are, and how fast onnxruntime is beside this project.

    python benchmarks/interop.py [--peer FOLDER] [--repeats 7]

Writes ``docs/benchmarks/interop.json`` (every figure) and ``docs/benchmarks/interop.md``; fails if outputs that should
be equal differ by more than 1e-4. Needs the extras ``tts`` (SpeechBrain) and ``onnx``, and installs lmnt-com's package
into a temporary folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import interop_parity
from diffwave.audio.file import read_audio
from diffwave.checkpoint.folder import Checkpoint, load_checkpoint
from diffwave.config import BASE, ModelConfig
from diffwave.evaluation.perceptual import pesq_wb
from diffwave.files import write_text
from diffwave.interop.onnx_export import export_onnx
from diffwave.interop.onnx_names import OPSET
from diffwave.interop.onnx_runtime import load_onnx
from diffwave.vocoder import Vocoder
from interop_page import page, worst
from machine import environment
from peer import PeerUnavailableError, install_peer, make_network, speech, spread

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-4
SECONDS = {"default": (0.1, 1.0, 4.0), "BASE": (0.1, 1.0)}  # fifty calls of BASE take a while
SMALL = dict(interop_parity.SMALL)
_BASE_SHAPE = {"residual_layers": 30, "residual_channels": 64, "dilation_cycle_length": 10}
_UTTERANCES = ("diffwave/assets/utterance.flac", "tests/data/403-126855-0000.flac", "tests/data/839-130898-0000.flac")


def imports(peer: Path, folder: Path) -> list[dict[str, Any]]:
    """A row for each foreign model: its outputs beside those of the imported checkpoint."""
    rows = []
    for name, params, frames in (("BASE", {}, 10), ("small", SMALL, 40)):
        work = folder / f"lmnt-{name}"
        work.mkdir()
        answer = interop_parity.lmnt_answer(peer, work, params, frames)
        rows.append({"project": "lmnt-com", "model": name, "figures": interop_parity.lmnt_figures(work, answer)})
    for name, shape, frames in (("BASE", _BASE_SHAPE, 10), ("small", SMALL, 40)):
        work = folder / f"speechbrain-{name}"
        work.mkdir()
        diffusion = interop_parity.speechbrain_model(work, shape)
        figures = interop_parity.speechbrain_figures(work, diffusion, frames)
        rows.append({"project": "SpeechBrain", "model": name, "figures": figures})
    return rows


def base() -> Checkpoint:
    """BASE with random weights and an output layer that predicts noise, as in ``peer.py``."""
    config: ModelConfig = dataclasses.replace(BASE, sampling=dataclasses.replace(BASE.sampling, clip=True))
    wav, mel = speech(config, 1.0)
    return Checkpoint(config, make_network(config, wav, mel).state_dict())


def exported(name: str, checkpoint: Checkpoint, folder: Path, repeats: int) -> dict[str, Any]:
    """Sizes, equality and speed of a checkpoint's export."""
    begun = time.perf_counter()
    step = export_onnx(checkpoint, folder)
    seconds = time.perf_counter() - begun
    ours, theirs = Vocoder(checkpoint, "cpu", "reference", "float32"), load_onnx(folder, threads=1)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("*.onnx"))}
    return {
        "model": name,
        "export_seconds": seconds,
        "bytes": sizes,
        "step_difference": step,
        "chains": [chain(ours, theirs, length, steps) for length in SECONDS[name] for steps in (6, "full")],
        "speed": [speed(checkpoint, theirs, length, repeats) for length in SECONDS[name][1:]],
    }


def mel_of(vocoder: Vocoder, seconds: float) -> Tensor:
    """Mel of the packaged utterance from its first second on, ``[M, F]``; before that it is nearly silent."""
    wav = read_audio(ROOT / _UTTERANCES[0], vocoder.sample_rate).wav[vocoder.sample_rate :]
    return vocoder.mel(wav[: max(1, round(seconds * vocoder.sample_rate / vocoder.hop_length)) * vocoder.hop_length])


def chain(ours: Vocoder, theirs: Vocoder, seconds: float, steps: int | str) -> dict[str, Any]:
    """Synthesis by the network alone, of one seed."""
    mel = mel_of(ours, seconds)
    expected, found = (one.synthesize(mel, steps=steps, seed=1, consistency=0) for one in (ours, theirs))
    return {
        "seconds": mel.shape[-1] * ours.hop_length / ours.sample_rate,
        "steps": steps,
        "difference": float((found - expected).abs().max()),
        "rms": float(expected.square().mean().sqrt()),
    }


def speed(checkpoint: Checkpoint, theirs: Vocoder, seconds: float, repeats: int) -> dict[str, Any]:
    """Seconds of one network call in turn, and ratios within each round; one thread each."""
    systems: dict[str, Vocoder] = {"onnx": theirs, "reference": Vocoder(checkpoint, "cpu", "reference", "float32")}
    fastest = Vocoder(checkpoint, "cpu")
    if fastest.backend != "reference":
        systems[fastest.backend] = fastest
    mel = mel_of(theirs, seconds).unsqueeze(0)
    calls = {name: _call(vocoder, mel) for name, vocoder in systems.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            if repeat:
                times[name].append(time.perf_counter() - begun)
    ratios = {
        name: spread([mine / other for mine, other in zip(times["onnx"], values, strict=True)])
        for name, values in times.items()
        if name != "onnx"
    }
    seconds = mel.shape[-1] * theirs.hop_length / theirs.sample_rate
    return {"seconds": seconds, "times": {name: spread(values) for name, values in times.items()}, "ratios": ratios}


def _call(vocoder: Vocoder, mel: Tensor) -> Callable[[], Tensor]:
    """One network call with a condition that is ready, as in the middle of a synthesis."""
    with torch.inference_mode():
        network = vocoder.network
        ready = network.prepare(network.condition(mel), calls=6)
        noisy, step = torch.randn(1, mel.shape[-1] * vocoder.hop_length), torch.tensor([10.5], dtype=torch.float64)

    @torch.inference_mode()
    def call() -> Tensor:
        return network(noisy, step, ready)

    return call


def guided(folder: Path) -> list[dict[str, Any]]:
    """Scores of the packaged checkpoint's default sampling, by PyTorch in float32 and by onnxruntime."""
    ours, theirs = Vocoder.from_pretrained(device="cpu", precision="float32"), load_onnx(folder, threads=1)
    rows = []
    for name in _UTTERANCES:
        wav = read_audio(ROOT / name, ours.sample_rate).wav[: 4 * ours.sample_rate]
        wav = wav[: len(wav) // ours.hop_length * ours.hop_length]
        mel = ours.mel(wav)
        row: dict[str, Any] = {"utterance": Path(name).stem, "seconds": len(wav) / ours.sample_rate}
        outputs = {"reference": ours.synthesize(mel, seed=1), "onnx": theirs.synthesize(mel, seed=1)}
        for system, output in outputs.items():
            row[f"pesq {system}"] = pesq_wb(wav.numpy(), output.numpy())
            row[f"mel distance {system}"] = float((ours.mel(output) - mel).abs().mean())
        row["difference"] = float((outputs["onnx"] - outputs["reference"]).abs().max())
        rows.append(row)
    return rows


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything."""
    import onnxruntime
    import speechbrain

    torch.set_num_threads(1)
    peer = options.peer or install_peer(folder / "package")
    versions = {"onnxruntime": onnxruntime.__version__, "speechbrain": speechbrain.__version__}
    packaged = load_checkpoint(ROOT / "diffwave" / "assets" / "default")
    with _quiet():
        exports = [
            exported("default", packaged, folder / "default", options.repeats),
            exported("BASE", base(), folder / "base", options.repeats),
        ]
        return {
            "command": f"python benchmarks/interop.py --repeats {options.repeats}",
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "environment": environment() | versions,
            "tolerance": TOLERANCE,
            "opset": OPSET,
            "imports": imports(peer, folder),
            "exports": exports,
            "guided": guided(folder / "default"),
        }


def main() -> None:
    """Compare, write, and print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="folder that holds lmnt-com's diffwave; installed if not given")
    parser.add_argument("--repeats", type=int, default=7, help="rounds of the timing")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks", help="folder of the two files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            results = run(options, Path(folder))
        except PeerUnavailableError as error:
            sys.exit(f"interop: {error}")
    options.output.mkdir(parents=True, exist_ok=True)
    write_text(options.output / "interop.json", json.dumps(results, indent=1) + "\n")
    write_text(options.output / "interop.md", page(results))
    print(page(results))
    if not worst(results) <= TOLERANCE:
        sys.exit("interop: outputs differ by more than the tolerance")


if __name__ == "__main__":
    main()
