"""The parts of a model put together: front end, diffusion process, network.

Training and synthesis both build their ``DiffusionProcess`` here, from the same mel.
"""

from __future__ import annotations

import math

from torch import Tensor

from diffwave.config import ModelConfig
from diffwave.diffusion import DiffusionProcess, NoiseSchedule, Prior, SpectralPrior, StandardPrior
from diffwave.mel import MelSpectrogram

# Mean magnitude of unit-variance white noise under a Hann window, per root of n_fft: the window's energy
# is 3/8 n_fft, and the mean of a Rayleigh variable is sqrt(pi)/2 of its root mean square.
_WHITE_MAGNITUDE = math.sqrt(3 / 8) * math.sqrt(math.pi) / 2


def make_prior(config: ModelConfig, front_end: MelSpectrogram, mel: Tensor) -> Prior:
    """Build the noise prior of ``config.diffusion`` for a log-mel ``[B, M, F]``."""
    if config.diffusion.prior == "standard":
        return StandardPrior()
    magnitude = front_end.envelope(mel)  # [B, K, F]
    amplitude = magnitude / (_WHITE_MAGNITUDE * math.sqrt(config.mel.win_length))
    return SpectralPrior(amplitude.clamp_min(config.diffusion.prior_floor), front_end.geometry)


def make_process(
    config: ModelConfig, schedule: NoiseSchedule, front_end: MelSpectrogram, mel: Tensor
) -> DiffusionProcess:
    """Build the diffusion process for a log-mel ``[B, M, F]``."""
    return DiffusionProcess(schedule, make_prior(config, front_end, mel), config.network.parameterization)
