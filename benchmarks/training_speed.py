"""A training step of BASE here and in lmnt-com's ``diffwave``: equal gradients, and speed, turn by turn."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from diffwave.audio.file import read_audio, write_wav
from diffwave.config import BASE, DataConfig, ModelConfig, mel_preset
from diffwave.config.document import to_dict
from diffwave.corpus.selection import find_utterances
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.diffwave import DiffWave
from diffwave.training.crops import CropDataset, Crops
from peer import PEER_VERSION, ROOT, Runner, check_version, difference, install_peer, rms, spread

FRAMES = 62
SOURCES = (*sorted((ROOT / "tests" / "data").glob("*.flac")), ROOT / "diffwave" / "assets" / "utterance.flac")
# Package and mode, by device. The other package's float16 is CUDA's autocast; on a CPU it changes nothing.
TURNS = {
    "cpu": ("peer float32", "ours float32", "ours bfloat16", "ours float32 compiled", "ours bfloat16 compiled"),
    "cuda": ("peer float32", "peer float16", "ours float32", "ours bfloat16", "ours bfloat16 compiled"),
}
TOLERANCE = 1e-5
_STEPS = {"cpu": 1, "cuda": 20}
_PAUSE = 0.3  # OpenMP threads spin for a while after their work
_READS = 5


class TrainingRunner(Runner):
    """One package in a process of its own, that trains.

    Args:
        role: ``peer`` or ``ours``.
        package: folder that holds the package.
        inputs: file that :func:`prepare` has written.
        threads: of torch.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, role: str, package: Path, inputs: Path, threads: int, device: str) -> None:
        arguments = ["--inputs", str(inputs), "--device", device]
        super().__init__(role, package, threads, arguments, "training_runner.py")


def throughput(options: argparse.Namespace) -> dict[str, Any]:
    """The section ``throughput``, for one device."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = options.peer or install_peer(folder / "package")
        check_version(package)
        setting = prepare(folder, options.batch)
        turns = tuple(dict.fromkeys(["peer float32", *(options.turns or TURNS[options.device])]))
        steps = options.steps or _STEPS[options.device]
        arguments = (folder / "inputs.pt", options.threads, options.device)
        with TrainingRunner("peer", package, *arguments) as theirs, TrainingRunner("ours", ROOT, *arguments) as ours:
            equality = compare(theirs, ours, folder)
            timing = measure({"peer": theirs, "ours": ours}, turns, options.rounds, steps)
    setting |= {"threads": options.threads, "rounds": options.rounds, "steps": steps, "peer": PEER_VERSION}
    speed = {name: spread([setting["batch"] * steps / s for s in t["values"]]) for name, t in timing["seconds"].items()}
    return {"setting": setting, "equality": equality, **timing, "crops_per_second": speed}


def prepare(folder: Path, batch: int, frames: int = FRAMES) -> dict[str, Any]:
    """Write weights, a batch of speech, noise and steps; returns what the comparison is about.

    The crops come through our own data path, which is timed; both packages get them in memory. The other package's
    mel is ours too, of the same convention: it would read it from a file that its preparation has written.
    """
    model = dataclasses.replace(BASE, mel=mel_preset("lmnt-22k"))
    corpus = write_corpus(folder / "corpus", 1, model.mel.sample_rate)
    utterances = find_utterances(DataConfig(root=str(corpus)), model.mel.sample_rate)
    dataset = CropDataset(utterances, model.mel, frames, seed=0)
    reads = []
    for _ in range(_READS):
        begun = time.perf_counter()
        crops = default_collate([dataset[number] for number in range(batch)])
        reads.append(time.perf_counter() - begun)
    torch.save(_inputs(model, dataset, crops), folder / "inputs.pt")
    return {
        "batch": batch,
        "frames": frames,
        "samples": dataset.crop,
        "sample_rate": model.mel.sample_rate,
        "reading_seconds": spread(reads),
    }


def _inputs(model: ModelConfig, dataset: CropDataset, crops: Crops) -> dict[str, Any]:
    """What both processes load."""
    context, hop = dataset.context, model.mel.hop_length
    audio = crops.wav[:, context:-context].contiguous()
    spectrogram = MelSpectrogram(model.mel)(crops.wav)[..., context // hop : -(context // hop)].contiguous()
    generator = torch.Generator().manual_seed(0)
    return {
        "model": to_dict(model),
        "weights": weights(model),
        "wav": crops.wav,
        "audio": audio,
        "spectrogram": spectrogram,
        "noise": torch.randn(audio.shape, generator=generator),
        "steps": torch.randint(0, model.diffusion.steps, audio.shape[:1], generator=generator),
    }


def weights(model: ModelConfig) -> dict[str, Tensor]:
    """Random weights; a new network's output layer is zero, and nothing before it would have a gradient."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DiffWave(model)
        nn.init.kaiming_normal_(network.output_projection.weight)
    return network.state_dict()


def write_corpus(folder: Path, copies: int, rate: int | None = None) -> Path:
    """Copies of the utterances that come with the repository, at their own or another rate."""
    for number in range(copies):
        for source in SOURCES:
            # Copies of one utterance in one folder, as if a speaker had said it often.
            path = folder / source.stem / f"{number:03d}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            if rate is None:
                path.write_bytes(source.read_bytes())
            else:
                write_wav(path.with_suffix(".wav"), read_audio(source, rate).wav, rate)
    return folder


def compare(theirs: Runner, ours: Runner, folder: Path) -> dict[str, Any]:
    """One step of each with the same weights, batch, noise and steps: loss and gradients.

    The gradient of L1 jumps where an error is zero. An error within rounding of it may have one sign here and the
    other there, which moves gradients by two parts in as many as there are samples: little in a whole batch.
    """
    found = []
    for runner in (theirs, ours):
        path = folder / f"{runner.role}.pt"
        runner.ask(action="check", output=str(path))
        found.append(torch.load(path, weights_only=True))
    peer, own = found
    if peer["gradients"].keys() != own["gradients"].keys():
        raise RuntimeError("the two networks have parameters of different names")
    pairs = {name: (value, own["gradients"][name]) for name, value in peer["gradients"].items()}
    largest = max(pairs, key=lambda name: difference(*pairs[name]))
    everything = torch.cat([value.flatten() for value in peer["gradients"].values()])
    return {
        "tolerance": TOLERANCE,
        "loss": {"peer": float(peer["loss"]), "ours": float(own["loss"])},
        "loss_difference": difference(peer["loss"], own["loss"]),
        "parameters": everything.numel(),
        "gradient_difference": difference(*pairs[largest]),
        "gradient_difference_in": largest,
        "gradient_largest": float(everything.abs().max()),
        "gradient_rms": rms(everything),
    }


def agrees(equality: dict[str, Any]) -> bool:
    """Whether loss and gradients differ by no more than the tolerance, and there are gradients at all."""
    close = all(equality[f"{name}_difference"] <= equality["tolerance"] for name in ("loss", "gradient"))
    return close and equality["gradient_largest"] > 100 * equality["tolerance"]


def measure(runners: dict[str, Runner], turns: tuple[str, ...], rounds: int, steps: int) -> dict[str, Any]:
    """Train in turn, after one turn each to warm up; ratios are of neighbours in time."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    warm_up: dict[str, float] = {}
    failed: dict[str, str] = {}
    load = os.getloadavg()[0]
    for number in range(rounds + 1):
        for name in (name for name in turns if name not in failed):
            role, mode = name.split(" ", 1)
            time.sleep(_PAUSE)
            answer = runners[role].ask(action="time", mode=mode, steps=steps)
            if "error" in answer:
                failed[name] = answer["error"]
            elif number == 0:
                warm_up[name] = answer["seconds"]
            else:
                seconds[name].append(answer["seconds"])
            print(f"round {number} of {rounds}, {name}: {answer}", file=sys.stderr, flush=True)
    seconds = {name: values for name, values in seconds.items() if name not in failed}
    ratios = {
        base: {
            name: spread([a / b for a, b in zip(seconds[base], seconds[name], strict=True)])
            for name in seconds
            if name.startswith("ours")
        }
        for base in seconds
        if base.startswith("peer")
    }
    if not ratios:
        raise RuntimeError(f"the other package did not train: {failed}")
    return {
        "load_before": round(load, 2),
        "warm_up": warm_up,
        "failed": failed,
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "speed_ratio": ratios,
    }
