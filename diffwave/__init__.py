"""DiffWave: a diffusion vocoder that turns mel spectrograms into speech.

The public names are loaded when first used, so that ``import diffwave`` stays instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffwave.checkpoint.folder import Checkpoint, load_checkpoint, save_checkpoint
    from diffwave.config import MelConfig, ModelConfig, mel_preset
    from diffwave.diffusion import NoiseSchedule, Sampler
    from diffwave.mel.spectrogram import MelSpectrogram
    from diffwave.network.diffwave import DiffWave
    from diffwave.vocoder import Vocoder

__version__ = "0.1.0"

_HOMES = {
    "Checkpoint": "diffwave.checkpoint.folder",
    "DiffWave": "diffwave.network.diffwave",
    "MelConfig": "diffwave.config",
    "MelConsistency": "diffwave.mel.consistency",
    "MelSpectrogram": "diffwave.mel.spectrogram",
    "ModelConfig": "diffwave.config",
    "NoiseSchedule": "diffwave.diffusion",
    "Sampler": "diffwave.diffusion",
    "Vocoder": "diffwave.vocoder",
    "load_checkpoint": "diffwave.checkpoint.folder",
    "mel_preset": "diffwave.config",
    "save_checkpoint": "diffwave.checkpoint.folder",
}

__all__ = [
    "Checkpoint",
    "DiffWave",
    "MelConfig",
    "MelConsistency",
    "MelSpectrogram",
    "ModelConfig",
    "NoiseSchedule",
    "Sampler",
    "Vocoder",
    "load_checkpoint",
    "mel_preset",
    "save_checkpoint",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'diffwave' has no attribute {name!r}")
