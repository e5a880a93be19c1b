"""BASE with random weights for two packages, and how far what they make of the same inputs is apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.given import stir
from benchmarks.report import UTTERANCE
from diffwave.audio.file import read_audio
from diffwave.checkpoint.folder import Checkpoint, save_checkpoint
from diffwave.config import BASE, mel_preset
from diffwave.dsp.noise import white_noise
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.diffwave import DiffWave

STEPS = 6


def prepare(folder: Path, seconds: float) -> dict[str, Any]:
    """Write the model for both packages, a mel and noise; returns what the comparison is about.

    It has the other package's mel and its clipping after every step.
    """
    sampling = dataclasses.replace(BASE.sampling, steps=STEPS, clip=True)
    config = dataclasses.replace(BASE, mel=mel_preset("lmnt-22k"), sampling=sampling)
    samples = max(1, round(seconds * config.mel.sample_rate / config.mel.hop_length)) * config.mel.hop_length
    wav = read_audio(UTTERANCE, config.mel.sample_rate).wav[:samples]
    mel = MelSpectrogram(config.mel)(wav.unsqueeze(0))[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DiffWave(config)
        stir(network)  # a new network's output layer is zero and would hide everything
    weights = network.state_dict()
    save_checkpoint(folder, Checkpoint(config, weights))
    torch.save({"model": weights}, folder / "weights.pt")
    torch.save({"mel": mel}, folder / "inputs.pt")
    # The vocoder draws stream S for the start and the index it has just left afterwards; the other asks in that order.
    torch.save(torch.stack([white_noise(0, index, len(wav)) for index in range(STEPS, 0, -1)]), folder / "noise.pt")
    return {"samples": len(wav), "sample_rate": config.mel.sample_rate, "steps": STEPS}


def difference(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference, in float64; NaN if there is one."""
    return float((a.double() - b.double()).abs().max())


def rms(x: Tensor) -> float:
    """Root mean square."""
    return float(x.double().square().mean().sqrt())


def distance(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """Largest difference of a sample, and the error below the signal in decibels."""
    error = rms(ours.double() - theirs.double())
    decibels = 20 * torch.log10(torch.tensor(rms(theirs) / max(error, 1e-12)))
    return {"max_difference": difference(ours, theirs), "decibels": float(decibels)}
