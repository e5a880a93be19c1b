"""How a mel becomes a noise prior.

Training and synthesis both build their prior here, from the same mel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffwave.config import DiffusionConfig, MelConfig
from diffwave.diffusion import EnergyPrior, Prior, SpectralPrior, StandardPrior
from diffwave.dsp.stft import FrameGeometry
from diffwave.mel.spectrogram import MelSpectrogram

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
    if config.prior == "energy":
        amplitude = _amplitude(front_end, mel).square().mean(dim=1, keepdim=True).sqrt()  # [B, 1, F]
        log_response = config.prior_exponent * (amplitude.clamp_min(config.prior_floor) / config.prior_level).log()
        samples = FrameGeometry(1, 1, 1, front_end.config.framing)
        return EnergyPrior(config.prior_level * _to_frames(log_response, front_end.config, samples)[:, 0].exp())
    relative, geometry = filter_frames(config, front_end, mel, division)
    return SpectralPrior(config.prior_level * relative.pow(config.prior_exponent), geometry)


def filter_frames(
    config: DiffusionConfig, front_end: MelSpectrogram, mel: Tensor, division: int = 2
) -> tuple[Tensor, FrameGeometry]:
    """Amplitude of a mel's envelope over ``prior_level``, not below ``prior_floor``, in frames to filter with.

    Args:
        config: floor and level.
        front_end, mel, division: see :func:`make_prior`.

    Returns:
        Shape ``[B, K, F']``, and the frames that it is in.
    """
    mel_config = front_end.config
    amplitude = _amplitude(front_end, mel).clamp_min(config.prior_floor)  # [B, K, F]
    geometry = _filter_geometry(mel_config, division)
    logarithm = _to_frames((amplitude / config.prior_level).log(), mel_config, geometry)
    return logarithm[:, :: mel_config.n_fft // geometry.n_fft].exp(), geometry


def _amplitude(front_end: MelSpectrogram, mel: Tensor) -> Tensor:
    """Standard deviation of white noise with a mel's magnitude at each bin, ``[B, K, F]``."""
    config = front_end.config
    envelope = front_end.envelope(mel) / (_WHITE_MAGNITUDE * math.sqrt(config.win_length))
    # The window's energy, 3/8 of its length, is divided out there.
    return envelope * math.sqrt(3 / 8 * config.win_length) if config.stft_normalized else envelope


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
