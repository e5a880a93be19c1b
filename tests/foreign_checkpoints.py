"""Small checkpoints as other projects write them, made without their code."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from diffwave.config import BASE, NetworkConfig, mel_preset
from diffwave.network.diffwave import DiffWave
from tiny import random_weights

SMALL = dataclasses.replace(
    BASE, mel=mel_preset("lmnt-22k"), network=NetworkConfig(residual_channels=4, residual_layers=3, dilation_cycle=2)
)


def lmnt_params(**changes: Any) -> dict[str, Any]:
    """What lmnt-com's ``params.py`` holds, for the small network."""
    params: dict[str, Any] = {
        "batch_size": 16,
        "learning_rate": 2e-4,
        "max_grad_norm": None,
        "sample_rate": 22050,
        "n_mels": 80,
        "n_fft": 1024,
        "hop_samples": 256,
        "crop_mel_frames": 62,
        "residual_layers": 3,
        "residual_channels": 4,
        "dilation_cycle_length": 2,
        "noise_schedule": [1e-4 + i * (0.05 - 1e-4) / 49 for i in range(50)],
        "inference_noise_schedule": [1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5],
    }
    return params | changes


def weights() -> dict[str, Tensor]:
    """State dict in lmnt-com's names, which are this project's."""
    network = DiffWave(SMALL)
    random_weights(network)
    return dict(network.state_dict())


def lmnt_file(**changes: Any) -> dict[str, Any]:
    """What lmnt-com's learner saves; the optimiser is left empty."""
    return {"step": 7, "model": weights(), "optimizer": {}, "params": lmnt_params(**changes), "scaler": {}}


def speechbrain_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as SpeechBrain names them."""
    renamed = {}
    for name, value in tensors.items():
        module, _, last = name.rpartition(".")
        linear = "diffusion" in module
        inner = "" if "upsampler" in module else ".w" if linear else ".conv"
        renamed[f"{module}{inner}.{last}"] = value
    return renamed
