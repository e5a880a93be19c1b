"""BASE with random weights for two packages, and how far what they make of the same inputs is apart."""

from __future__ import annotations

import dataclasses
import unittest.mock
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.report import UTTERANCE
from diffwave.audio.file import read_audio
from diffwave.checkpoint.folder import Checkpoint, save_checkpoint
from diffwave.config import BASE, ModelConfig, mel_preset
from diffwave.diffusion import NoiseSchedule
from diffwave.dsp.noise import white_noise
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.diffwave import DiffWave

STEPS = 6
_FIT_FRAMES = 43  # half a second


def prepare(folder: Path, seconds: float) -> dict[str, Any]:
    """Write the model for both packages, a mel and noise; returns what the comparison is about.

    It has the other package's mel and its clipping after every step.
    """
    sampling = dataclasses.replace(BASE.sampling, steps=STEPS, clip=True)
    config = dataclasses.replace(BASE, mel=mel_preset("lmnt-22k"), sampling=sampling)
    wav, mel = speech(config, seconds)
    weights = make_network(config, wav, mel).state_dict()
    save_checkpoint(folder, Checkpoint(config, weights))
    torch.save({"model": weights}, folder / "weights.pt")
    torch.save({"mel": mel}, folder / "inputs.pt")
    # The vocoder draws stream S for the start and the index it has just left afterwards; the other asks in that order.
    torch.save(torch.stack([white_noise(0, index, len(wav)) for index in range(STEPS, 0, -1)]), folder / "noise.pt")
    return {"samples": len(wav), "sample_rate": config.mel.sample_rate, "steps": STEPS}


def speech(config: ModelConfig, seconds: float) -> tuple[Tensor, Tensor]:
    """Waveform ``[N]`` and mel ``[M, F]`` of the first ``seconds`` of the packaged utterance, a whole number of frames.

    Raises:
        ValueError: if the utterance is shorter.
    """
    wav = read_audio(UTTERANCE, config.mel.sample_rate).wav
    samples = max(1, round(seconds * config.mel.sample_rate / config.mel.hop_length)) * config.mel.hop_length
    if samples > len(wav):
        raise ValueError(f"seconds: expected at most {len(wav) / config.mel.sample_rate:.1f}; got {seconds}")
    wav = wav[:samples]
    return wav, MelSpectrogram(config.mel)(wav.unsqueeze(0))[0]


def make_network(config: ModelConfig, wav: Tensor, mel: Tensor) -> DiffWave:
    """BASE with random weights and an output layer that predicts noise as well as a linear map of them can.

    A new network's output layer is zero, so that it would hide everything before it. A random one would do nothing
    about the noise, and the clipping to ``[-1, 1]`` would hide most of the rest. Least squares on one utterance makes
    a network that denoises a little, and its outputs have a usual level.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DiffWave(config).eval()
    frames = min(_FIT_FRAMES, mel.shape[-1])
    features, noise = _features(network, config, wav[: frames * config.mel.hop_length], mel[:, :frames])
    gram = features.T @ features
    ridge = 1e-6 * gram.trace() / len(gram) * torch.eye(len(gram), dtype=gram.dtype)
    solution = torch.linalg.solve(gram + ridge, features.T @ noise)  # [C + 1]
    with torch.no_grad():
        network.output_projection.weight.copy_(solution[:-1].reshape(1, -1, 1))
        network.output_projection.bias.copy_(solution[-1:])
    return network


@torch.no_grad()
def _features(network: DiffWave, config: ModelConfig, wav: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
    """Input of the output layer at the sampled steps and a one, ``[S * N, C + 1]``, and the noise, ``[S * N]``."""
    schedule = NoiseSchedule.from_config(config.diffusion)
    steps = schedule.align(NoiseSchedule(torch.tensor(config.sampling.fast_betas[str(STEPS)])))
    noise = torch.randn(len(steps), len(wav), generator=torch.Generator().manual_seed(1))
    noisy = schedule.add_noise(wav.expand(len(steps), -1), noise, steps)
    seen: list[Tensor] = []
    hidden = network.hidden

    def watch(total: Tensor, mask: Tensor | None) -> Tensor:
        seen.append(hidden(total, mask)[0])
        return seen[-1].unsqueeze(0)

    condition = network.condition(mel.unsqueeze(0))
    with unittest.mock.patch.object(network, "hidden", watch):
        for row, step in zip(noisy, steps, strict=True):
            network(row.unsqueeze(0), step.reshape(1), condition)
    features = torch.cat(seen).double()  # [S * N, C]
    return torch.cat([features, torch.ones(len(features), 1)], dim=1), noise.flatten().double()


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
