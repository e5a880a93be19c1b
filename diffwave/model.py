"""The parts of a model put together: how a mel becomes a noise prior.

Training and synthesis both build their prior here, from the same mel.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import replace

import torch
from torch import Tensor

from diffwave.config import DiffusionConfig, MelConfig, SamplingConfig
from diffwave.diffusion import EnergyPrior, Prior, SpectralPrior, StandardPrior
from diffwave.mel import MelSpectrogram
from diffwave.stft import FrameGeometry

# Mean magnitude of unit-variance white noise under a Hann window, per root of win_length: the window's
# energy is 3/8 win_length, and the mean of a Rayleigh variable is sqrt(pi)/2 of its root mean square.
_WHITE_MAGNITUDE = math.sqrt(3 / 8) * math.sqrt(math.pi) / 2


def make_prior(config: DiffusionConfig, front_end: MelSpectrogram, mel: Tensor, division: int = 2) -> Prior:
    """Build the noise prior for a log-mel ``[B, M, F]``.

    The spectral prior filters with frames of half the mel's size and hop, the envelope interpolated in time: what
    ``color(whiten(wav))`` loses is heard less than with the mel's own frames, though it is more in decibels
    (docs/benchmarks/prior.md). The energy prior takes the root mean square of the same envelope over frequency.

    Args:
        config: kind of prior, and its floor, exponent and level.
        front_end: what the mel was made with.
        mel: log-mel.
        division: the filter's frames are this many times smaller than the mel's, where those can be divided.
    """
    if config.prior == "standard":
        return StandardPrior()
    mel_config = front_end.config
    amplitude = front_end.envelope(mel) / (_WHITE_MAGNITUDE * math.sqrt(mel_config.win_length))
    if config.prior == "energy":
        amplitude = amplitude.square().mean(dim=1, keepdim=True).sqrt()  # [B, 1, F]
    amplitude = amplitude.clamp_min(config.prior_floor)  # [B, K, F]
    log_response = config.prior_exponent * (amplitude / config.prior_level).log()
    if config.prior == "energy":
        samples = FrameGeometry(1, 1, 1, mel_config.framing)
        return EnergyPrior(config.prior_level * _to_frames(log_response, mel_config, samples)[:, 0].exp())
    geometry = _filter_geometry(mel_config, division)
    log_response = _to_frames(log_response, mel_config, geometry)[:, :: mel_config.n_fft // geometry.n_fft]
    return SpectralPrior(config.prior_level * log_response.exp(), geometry)


def _filter_geometry(mel: MelConfig, division: int) -> FrameGeometry:
    """The mel's frames, smaller by ``division`` where hop and size can be divided by it."""
    part = division if mel.hop_length % division == 0 and mel.n_fft % (2 * division) == 0 else 1
    size = mel.n_fft // part
    return FrameGeometry(size, mel.hop_length // part, size, mel.framing)


def _to_frames(values: Tensor, mel: MelConfig, geometry: FrameGeometry) -> Tensor:
    """Interpolate ``[B, K, F]`` linearly from the centres of the mel's frames to those of ``geometry``."""
    ratio = mel.hop_length // geometry.hop_length
    if ratio == 1:
        return values
    frames = values.shape[-1]
    index = torch.arange(frames * ratio, device=values.device, dtype=values.dtype)
    offset = 0.5 if geometry.framing == "hop" else 0.0
    position = ((index + offset) / ratio - offset).clamp(0, frames - 1)
    low = position.floor().long()
    high = (low + 1).clamp(max=frames - 1)
    return torch.lerp(values[..., low], values[..., high], position - low)


def chosen_sampling(own: SamplingConfig, consistency: int | None = None, at: str | None = None) -> SamplingConfig:
    """A checkpoint's settings with what a caller asks for.

    Args:
        own: the checkpoint's.
        consistency: iterations at the end; 0 is the network alone.
        at: where else consistency works, as ``consistency_at``; schedules that were found for another place are
            dropped.

    Raises:
        ValueError: if the iterations are no whole number from 0, or there is no such place.
    """
    iterations = own.consistency_iterations if consistency is None else consistency
    if isinstance(iterations, bool) or not isinstance(iterations, numbers.Integral) or iterations < 0:
        raise ValueError(f"consistency: expected 0 or a positive whole number; got {iterations!r}")
    schedules = own.guided_schedules if at in (None, own.consistency_at) else {}
    return replace(
        own,
        consistency_iterations=int(iterations),
        consistency_at=at or own.consistency_at,
        guided_schedules=schedules,
    )
