"""DiffWave: a diffusion vocoder that turns mel spectrograms into speech.

The public names are loaded when first used, so that ``import diffwave`` stays instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffwave.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from diffwave.config import MelConfig, ModelConfig, mel_preset
    from diffwave.diffusion import NoiseSchedule, Sampler
    from diffwave.mel import MelConsistency, MelSpectrogram
    from diffwave.network import DiffWave
    from diffwave.vocoder import Vocoder

__version__ = "0.1.0"

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
# From the lowest floor up: a room loads those below it anyway, so that looking for a name from there on costs nothing.
_ROOMS = ("config", "diffusion", "mel", "network", "checkpoint", "vocoder")


def __getattr__(name: str) -> Any:
    import importlib

    for room in _ROOMS if name in __all__ else ():
        module = importlib.import_module(f"diffwave.{room}")
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module 'diffwave' has no attribute {name!r}")
