"""lmnt-com's ``diffwave`` as a variant: its own code learns from our crops, and speaks with its own sampler.

Crops are those of the default variant, number by number: the same files, cut at the same places by the same code. They
come with mels of its convention, at the corpus's 16 kHz; cutting and mels cost it no time, ours are in our budget. It
has the whole budget at its own rate of 2e-4, which never falls, and no moving average: that is how its code trains.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ablation.settings import ROOT, STEPS, Laboratory, read, write
from ablation.training import VariantError
from diffwave.config import MelConfig, TrainingConfig, mel_preset

sys.path.insert(0, str(ROOT))
from benchmarks.peers.packages import PACKAGES, PeerUnavailableError, check_version, install
from benchmarks.peers.processes import Process

MEL = dataclasses.replace(mel_preset("lmnt-22k"), sample_rate=16000, f_max=8000.0)
# The same mel, but for its clipping, with a logarithm that consistency can undo: -100 dB of it are 1e-4.
OPEN_MEL = dataclasses.replace(MEL, log="ln", floor=1e-4)
_BLOCK_SECONDS = 10.0
_MOST_BATCHES = 64


def start(laboratory: Laboratory, package: Path | None, seed: int) -> Process:
    """Install the package into the results' folder unless it is there, and start its process.

    Raises:
        VariantError: if it cannot be had.
    """
    try:
        if package is None:
            package = install("lmnt", laboratory.output / "peers")
        check_version("lmnt", package)
    except PeerUnavailableError as error:
        raise VariantError(str(error)) from None
    return Process("lmnt", package, laboratory.threads, laboratory.device, seed)


def train(runner: Process, seed: int, laboratory: Laboratory) -> dict[str, Any]:
    """Train under the budget, or find what was trained under the same conditions; the checkpoint is ``weights.pt``.

    Raises:
        VariantError: if the package's training fails.
    """
    run_dir = laboratory.runs / f"lmnt-com-{seed}"
    config = _config(seed, laboratory)
    setting = [laboratory.minutes, laboratory.iterations, laboratory.threads, laboratory.device]
    request = {"budget": setting, "crop_frames": config.data.crop_frames, "batch_size": config.train.batch_size}
    done = read(run_dir / "trained.json")
    if done.get("request") == request:
        found: dict[str, Any] = done["training"]
        return found
    shutil.rmtree(run_dir, ignore_errors=True)
    run_dir.mkdir(parents=True)
    iterations, seconds, loss = _spend(runner, config, run_dir, laboratory)
    parameters = _ask(runner, action="save", folder=str(run_dir))["parameters"]
    training = {
        "iterations": iterations,
        "seconds": round(seconds, 1),
        "last_loss": loss,
        "parameters": parameters,
        "package": PACKAGES["lmnt"][0],
    }
    write(run_dir / "trained.json", {"request": request, "training": training})
    return training


def _config(seed: int, laboratory: Laboratory) -> TrainingConfig:
    """The default variant's: it says which crops."""
    from diffwave.config.composing import compose_config

    where = [f"data.root={json.dumps(str(laboratory.data.resolve()))}", f"train.seed={seed}"]
    return compose_config([f"experiment={laboratory.experiment}", *laboratory.overrides, *where])


def _spend(
    runner: Process, config: TrainingConfig, folder: Path, laboratory: Laboratory
) -> tuple[int, float, float | None]:
    """Train in blocks until the budget is over; returns iterations, seconds and the last loss."""
    from diffwave.corpus.selection import training_and_validation
    from diffwave.training.crops import CropDataset

    utterances, _ = training_and_validation(config.data, MEL.sample_rate)
    dataset = CropDataset(utterances, config.model.mel, config.data.crop_frames, config.train.seed)
    done, seconds, speed, loss = 0, 0.0, 0.0, None
    while True:
        count = _block(done, seconds, speed, laboratory)
        if count < 1:
            return done, seconds, loss
        batches = [_batch(dataset, done + i, config.train.batch_size) for i in range(count)]
        torch.save(batches, folder / "batches.pt")
        answer = _ask(runner, action="train_on", batches=str(folder / "batches.pt"))
        (folder / "batches.pt").unlink()
        # The first block is slower than all others: it says how long a block may be, not how fast the rest is.
        done, seconds, loss = done + count, seconds + answer["seconds"], answer["loss"]
        speed = count / answer["seconds"]


def _block(done: int, seconds: float, speed: float, laboratory: Laboratory) -> int:
    """Iterations of the next block; 0 when the budget is over."""
    if laboratory.iterations:
        return min(_MOST_BATCHES, laboratory.iterations - done)
    if not done:
        return 1
    left = 60 * laboratory.minutes - seconds
    # Rounded: half an iteration more or less than the budget is as near as one can come.
    return min(_MOST_BATCHES, max(1, int(speed * _BLOCK_SECONDS)), round(left * speed))


def _batch(dataset: Any, index: int, size: int) -> dict[str, Tensor]:
    """The crops of an iteration as the package's loader would hand them over."""
    from diffwave.mel.spectrogram import MelSpectrogram

    wav = torch.stack([dataset[number].wav for number in range(index * size, (index + 1) * size)])
    context, frames = dataset.context, dataset.context // MEL.hop_length
    mel = MelSpectrogram(MEL)(wav)[..., frames:-frames]
    return {"audio": wav[:, context:-context].contiguous(), "spectrogram": mel.contiguous()}


def synthesize(runner: Process, seed: int, laboratory: Laboratory) -> dict[str, Path]:
    """Copy synthesis of the recordings; returns the folders of the network alone and of the consistent outputs."""
    from diffwave.audio.file import read_audio, write_wav
    from diffwave.mel.consistency import MelConsistency
    from diffwave.mel.spectrogram import MelSpectrogram

    run_dir = laboratory.runs / f"lmnt-com-{seed}"
    wavs = {path.stem: read_audio(path, MEL.sample_rate).wav for path in sorted(laboratory.reference.iterdir())}
    padded = {name: torch.nn.functional.pad(wav, (0, -len(wav) % MEL.hop_length)) for name, wav in wavs.items()}
    torch.save({name: _mel(wav, MEL) for name, wav in padded.items()}, run_dir / "mels.pt")
    files = {"mels": str(run_dir / "mels.pt"), "output": str(run_dir / "wavs.pt")}
    answer = _ask(runner, action="speak", folder=str(run_dir), **files)
    outputs = torch.load(run_dir / "wavs.pt", weights_only=True)
    consistency = MelConsistency(MelSpectrogram(OPEN_MEL))
    folders = {name: run_dir / name for name in ("alone", "consistent")}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in folders}
    for name, output in outputs.items():
        begun = time.perf_counter()
        nearer = consistency(output.unsqueeze(0), _mel(padded[name], OPEN_MEL).unsqueeze(0), laboratory.consistency)[0]
        seconds = {"alone": answer["seconds_of"][name]}
        seconds["consistent"] = seconds["alone"] + time.perf_counter() - begun
        for kind, wav in (("alone", output), ("consistent", nearer)):
            folders[kind].mkdir(exist_ok=True)
            write_wav(folders[kind] / f"{name}.wav", wav[: len(wavs[name])], MEL.sample_rate)
            factor = seconds[kind] / (len(wavs[name]) / MEL.sample_rate)
            rows[kind].append({"output": f"{name}.wav", "real_time_factor": factor, "steps": STEPS})
    for kind, folder in folders.items():
        write(folder / "synthesis.json", {"outputs": rows[kind]})
    return folders


def _mel(wav: Tensor, config: MelConfig) -> Tensor:
    from diffwave.mel.spectrogram import MelSpectrogram

    mel: Tensor = MelSpectrogram(config)(wav.unsqueeze(0))[0]
    return mel


def _ask(runner: Process, **request: str) -> dict[str, Any]:
    """Ask the process; raises VariantError if it has died or could not."""
    answer = runner.request(**request)
    if "error" in answer:
        raise VariantError(f"lmnt-com: {answer['error']}")
    return answer
