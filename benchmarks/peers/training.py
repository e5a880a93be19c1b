"""Measure a training step: BASE beside lmnt-com's ``diffwave``, and the default model through the C kernel.

    python -m benchmarks.peers.training [--only SECTION ...] [--threads N] [--device cpu|cuda] [--peers FOLDER]

Writes ``docs/benchmarks/training.json`` (every figure) and ``docs/benchmarks/training.md``. A section that is measured
again replaces its old figures, those of the throughput for its device alone. A missed target is no failure of the
program; loss or gradients that differ from the other package's are.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import default_collate

from benchmarks.peers.base import difference, rms
from benchmarks.peers.packages import PACKAGES, PeerUnavailableError, install
from benchmarks.peers.processes import Answer, Process, processes, speed, take_turns
from benchmarks.peers.training_page import agrees, page
from benchmarks.report import DOCUMENTS, SPEECH, merged, read, spread, stamp, write
from diffwave.audio.file import read_audio, write_wav
from diffwave.config import BASE, DataConfig, ModelConfig, TrainingConfig, mel_preset
from diffwave.config.composing import compose_config
from diffwave.config.document import to_dict
from diffwave.corpus.selection import find_utterances
from diffwave.kernels.native import unavailable
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.diffwave import DiffWave
from diffwave.training.crops import CropDataset, Crops, context_samples
from diffwave.training.distributed import Processes
from diffwave.training.learner import Learner

FRAMES = 62
# Package and mode, by device. The other package's float16 is CUDA's autocast; on a CPU it changes nothing.
TURNS = {
    "cpu": ("peer float32", "ours float32", "ours bfloat16", "ours float32 compiled", "ours bfloat16 compiled"),
    "cuda": ("peer float32", "peer float16", "ours float32", "ours bfloat16", "ours bfloat16 compiled"),
}
TOLERANCE = 1e-5
_STEPS = {"cpu": 1, "cuda": 20}


def throughput(options: argparse.Namespace) -> dict[str, Any]:
    """The section ``throughput``, for one device."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = install("lmnt", options.peers or folder)
        setting, steps = prepare(folder, options.batch), _STEPS[options.device]
        with processes({"lmnt": package}, options.threads, options.device) as running:
            equality = compare(running, folder)
            timing = measure(running, TURNS[options.device], options.rounds, steps)
    setting |= {"threads": options.threads, "rounds": options.rounds, "steps": steps}
    setting["peer"] = PACKAGES["lmnt"][0].split("==")[1]
    rates = {name: spread(setting["batch"] * steps / s for s in t["values"]) for name, t in timing["seconds"].items()}
    return {"setting": setting, "equality": equality, **timing, "crops_per_second": rates}


def prepare(folder: Path, batch: int, frames: int = FRAMES) -> dict[str, Any]:
    """Write weights, a batch of speech, noise and steps; returns what the comparison is about.

    The crops come through our own data path; both packages get them in memory. The other package's mel is ours too, of
    the same convention: it would read it from a file that its preparation has written.
    """
    model = dataclasses.replace(BASE, mel=mel_preset("lmnt-22k"))
    rate = model.mel.sample_rate
    for source in SPEECH:
        path = folder / "corpus" / source.stem / "000.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, read_audio(source, rate).wav, rate)
    utterances = find_utterances(DataConfig(root=str(folder / "corpus")), rate)
    dataset = CropDataset(utterances, model.mel, frames, seed=0)
    crops = default_collate([dataset[number] for number in range(batch)])
    torch.save(_inputs(model, dataset, crops), folder / "inputs.pt")
    return {"batch": batch, "frames": frames, "samples": dataset.crop, "sample_rate": rate}


def _inputs(model: ModelConfig, dataset: CropDataset, crops: Crops) -> dict[str, Any]:
    """What both processes load."""
    context, hop = dataset.context, model.mel.hop_length
    audio = crops.wav[:, context:-context].contiguous()
    spectrogram = MelSpectrogram(model.mel)(crops.wav)[..., context // hop : -(context // hop)].contiguous()
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DiffWave(model)
        # It is zero in a new network, and nothing before it would have a gradient.
        nn.init.kaiming_normal_(network.output_projection.weight)
    return {
        "model": to_dict(model),
        "weights": network.state_dict(),
        "wav": crops.wav,
        "audio": audio,
        "spectrogram": spectrogram,
        "noise": torch.randn(audio.shape, generator=generator),
        "steps": torch.randint(0, model.diffusion.steps, audio.shape[:1], generator=generator),
    }


def compare(running: dict[str, Process], folder: Path) -> dict[str, Any]:
    """One step of each with the same weights, batch, noise and steps: loss and gradients.

    The gradient of L1 jumps where an error is zero. An error within rounding of it may have one sign here and the
    other there, which moves gradients by two parts in as many as there are samples: little in a whole batch.
    """
    found = []
    for role in ("lmnt", "ours"):
        running[role].ask("load_batch", inputs=str(folder / "inputs.pt"))
        running[role].ask("learn", output=str(folder / f"{role}.pt"))
        found.append(torch.load(folder / f"{role}.pt", weights_only=True))
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


def measure(running: dict[str, Process], turns: tuple[str, ...], rounds: int, steps: int) -> dict[str, Any]:
    """Train in turn; ratios are beside each way in which the other package runs."""
    before = os.getloadavg()[0]

    def turn(name: str) -> Callable[[bool], Answer]:
        role, mode = name.split(" ", 1)
        process = running["lmnt" if role == "peer" else role]

        def run(first: bool) -> Answer:
            answer = process.request("train", mode=mode, steps=steps)
            return {"warm_up": answer["seconds"]} if first and "error" not in answer else answer

        return run

    rows = take_turns({name: turn(name) for name in turns}, rounds)
    ran = {name: row for name, row in rows.items() if "error" not in row}
    failed = {name: row["error"] for name, row in rows.items() if "error" in row}
    bases = [name for name in ran if name.startswith("peer")]
    if not bases:
        raise RuntimeError(f"the other package did not train: {failed}")
    ours = [name for name in ran if name.startswith("ours")]
    return {
        "load_before": round(before, 2),
        "warm_up": {name: row["warm_up"] for name, row in ran.items()},
        "failed": failed,
        "seconds": {name: spread(row["seconds"]) for name, row in ran.items()},
        "speed_ratio": {base: {name: speed(ran[base], ran[name]) for name in ours} for base in bases},
    }


def kernel(options: argparse.Namespace) -> dict[str, Any]:
    """The section ``kernel``: a step of the default model through the C kernel and through PyTorch, both bfloat16."""
    torch.set_num_threads(options.threads)
    config = compose_config(["experiment=librispeech_fast", "data.root=."])
    missing = unavailable(torch.device("cpu"), config.model.network.residual_channels)
    if missing:
        return {"unavailable": missing}
    crops, before = speech_like(config), os.getloadavg()[0]
    steps = {backend: make_step(config, backend, crops) for backend in ("reference", "native")}
    seconds: dict[str, list[float]] = {backend: [] for backend in steps}
    for number in range(options.kernel_rounds + 2):
        for backend, step in steps.items():
            begun = time.perf_counter()
            step()
            seconds[backend] += [time.perf_counter() - begun] if number > 1 else []
    ratios = (plain / ours for plain, ours in zip(seconds["reference"], seconds["native"], strict=True))
    setting = {"batch": config.train.batch_size, "frames": config.data.crop_frames, "threads": options.threads}
    return {
        "setting": setting | {"rounds": options.kernel_rounds},
        "seconds": {backend: spread(taken) for backend, taken in seconds.items()},
        "speed_ratio": {"native": spread(ratios)},
        "load_before": round(before, 2),
    }


def speech_like(config: TrainingConfig) -> Crops:
    """A batch of noise in memory: what is timed does not depend on what is said."""
    samples = config.data.crop_frames * config.model.mel.hop_length + 2 * context_samples(config.model.mel)
    wav = torch.randn(config.train.batch_size, samples, generator=torch.Generator().manual_seed(1)) * 0.1
    return Crops(torch.arange(len(wav)), wav)


def make_step(config: TrainingConfig, backend: str, crops: Crops) -> Callable[[], None]:
    """One whole step of training, from crops in memory to moved weights."""
    train = dataclasses.replace(config.train, backend=backend, precision="bfloat16")
    learner = Learner(config.model, train, Processes(torch.device("cpu")))
    torch.manual_seed(0)
    nn.init.normal_(learner.network.output_projection.weight, std=0.02)  # it is zero at the very start

    def step() -> None:
        found = learner.step([crops], 1000)
        learner.update(found.gradient_norm)

    return step


SECTIONS: dict[str, tuple[Callable[[argparse.Namespace], dict[str, Any]], tuple[str, ...]]] = {
    "throughput": (throughput, ("device", "threads", "batch", "rounds")),
    "kernel": (kernel, ("threads", "kernel_rounds")),
}


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    add("--output", type=Path, default=DOCUMENTS, help="folder of the two files")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="for the throughput")
    add("--threads", type=int, default=torch.get_num_threads())
    add(
        "--peers",
        type=Path,
        metavar="FOLDER",
        help="folder of other projects' packages; without it, installed for once",
    )
    add("--batch", type=int, default=16, help=f"crops of {FRAMES} frames, for the throughput")
    add("--rounds", type=int, default=3, help="of the throughput, after one to warm up")
    add("--kernel-rounds", type=int, default=15, help="of the kernel, after two to warm up")
    return parser.parse_args(arguments)


def command(name: str, options: argparse.Namespace) -> str:
    """What measures a section again with the same options; folders of this machine are left out."""
    words = [f"--{key.replace('_', '-')} {getattr(options, key)}" for key in SECTIONS[name][1]]
    return " ".join([f"python -m benchmarks.peers.training --only {name}", *words])


def main() -> None:
    """Measure section after section, and write both files after each."""
    options = parse_options()
    results = read(options.output / "training.json")
    for name in options.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            section = stamp(command(name, options), options.device) | SECTIONS[name][0](options)
        except PeerUnavailableError as error:
            sys.exit(f"training: {error}")
        device = options.device if name == "throughput" else "cpu"
        results = merged(results, name, device, section)
        write("training", results, page(results), options.output)
    if not all(agrees(found["equality"]) for found in results.get("throughput", {}).values()):
        sys.exit("training: loss or gradients differ from the other package's by more than the tolerance")


if __name__ == "__main__":
    main()
