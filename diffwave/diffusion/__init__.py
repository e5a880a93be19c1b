"""Diffusion over tensors of any origin: it knows nothing of audio files or networks."""

from diffwave.diffusion.prior import EnergyPrior, Prior, SpectralPrior, StandardPrior
from diffwave.diffusion.process import DiffusionProcess
from diffwave.diffusion.sampler import Sampler
from diffwave.diffusion.schedule import NoiseSchedule

__all__ = [
    "DiffusionProcess",
    "EnergyPrior",
    "NoiseSchedule",
    "Prior",
    "Sampler",
    "SpectralPrior",
    "StandardPrior",
]
