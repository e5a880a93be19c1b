"""Losses of the spectrum: errors weighted by what is heard of them, and magnitudes at several resolutions.

In the domain of the diffusion every band of the spectrum counts alike, although half of all bands lie above 4 kHz,
where an ear has four of its 24 critical bands. A network that is small, or has learned little, spends itself on them.
With weights, a squared error of the predicted signal counts as a difference of specific loudness would: with the
density of critical bands, and with the local level to the power that loudness grows with (Zwicker & Fastl 1999,
chapters 6 and 8). What a network with unlimited capacity would learn stays the same.

Magnitudes are compared as in Yamamoto, Song & Kim 2020 (Parallel WaveGAN), section 2.2: the spectral convergence and
the L1 distance of log magnitudes, averaged over three window lengths. Errors of phase, of which a mel says nothing,
cost little there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffwave.config import DiffusionConfig
from diffwave.dsp.stft import FrameGeometry, stft
from diffwave.mel.prior import filter_frames
from diffwave.mel.spectrogram import MelSpectrogram

LOUDNESS_EXPONENT = 0.46
"""Of sound pressure in specific loudness: 0.23 of intensity (Zwicker & Fastl, section 8.7.1)."""
# Window, FFT size and hop, in samples: 64, 32 and 16 ms at 16 kHz with hops of a quarter.
RESOLUTIONS = (1024, 512, 256)
_OVERLAP = 4
# Smallest power, of Parallel WaveGAN's own code: below it logarithms say nothing that can be heard.
_POWER_FLOOR = 1e-7


class Weights(NamedTuple):
    """Of squared magnitudes of an error's STFT."""

    values: Tensor  # [B, K, F']
    geometry: FrameGeometry


def loudness_weights(config: DiffusionConfig, front_end: MelSpectrogram, mel: Tensor) -> Weights:
    """Weights for errors in the domain of the diffusion, about 1 on average over speech.

    An error there is one of the waveform divided by the prior's envelope, ``level ** prior_exponent``; relative to the
    waveform it is ``level ** (prior_exponent - 1)`` times as large, and in loudness that times ``level ** 0.46``.

    Args:
        config: the prior, which says what the domain of the diffusion is.
        front_end: of the mel.
        mel: log-mel of the crops with context, shape ``[B, M, F]``.
    """
    amplitude, geometry = filter_frames(config, front_end, mel)  # [B, K, F'], 1 where speech is of usual level
    # Of the waveform's errors; an error in the domain of the diffusion is as many times one of them.
    values = amplitude.pow(2 * (LOUDNESS_EXPONENT - 1))
    if config.prior == "spectral":
        values = values * amplitude.pow(2 * config.prior_exponent)
    elif config.prior == "energy":
        values = values * amplitude.square().mean(dim=1, keepdim=True).pow(config.prior_exponent)
    sample_rate = front_end.config.sample_rate
    density = critical_band_density(torch.linspace(0, sample_rate / 2, amplitude.shape[1], device=mel.device))
    return Weights((density / density.mean())[:, None] * values, geometry)


def critical_band_density(frequency: Tensor) -> Tensor:
    """Critical bands per Hz at each frequency in Hz (Zwicker & Fastl, equation 6.2)."""
    return 1 / (25 + 75 * (1 + 1.4 * (frequency / 1000).square()).pow(0.69))


def weighted_square(error: Tensor, weights: Weights, context: int) -> Tensor:
    """Mean weighted square of errors ``[B, N]``, shape ``[B]``; the plain mean square where all weights are 1.

    Args:
        error: of crops without context.
        weights: of the crops with context.
        context: samples on each side.
    """
    geometry = weights.geometry
    frames = context // geometry.hop_length
    power = torch.view_as_real(stft(error, geometry)).square().sum(dim=-1)  # [B, K, F']
    inside = weights.values[..., frames : frames + power.shape[-1]]
    window = geometry.window(error.device, error.dtype)
    return (power * inside).mean(dim=(1, 2)) / window.square().sum()


def multi_resolution_loss(estimate: Tensor, reference: Tensor) -> Tensor:
    """Spectral convergence plus log-magnitude distance of each example, mean over resolutions, shape ``[B]``.

    Args:
        estimate, reference: waveforms, float32, shape ``[B, N]``; windows longer than ``N`` are left out, but for the
            shortest one that there is.
    """
    sizes = [size for size in RESOLUTIONS if size <= estimate.shape[-1]] or [RESOLUTIONS[-1]]
    return torch.stack([_one_resolution(estimate, reference, size) for size in sizes]).mean(dim=0)


def _one_resolution(estimate: Tensor, reference: Tensor, size: int) -> Tensor:
    """Equations 4 to 6 for one window, ``[B]``."""
    found, wanted = (_magnitude(wav, size) for wav in (estimate, reference))  # [B, K, F]
    # vector_norm has a gradient (of zero) where the difference is zero; a root of a sum would have none.
    norms = torch.linalg.vector_norm(wanted - found, dim=(1, 2)), torch.linalg.vector_norm(wanted, dim=(1, 2))
    distance = (wanted.log() - found.log()).abs().mean(dim=(1, 2))
    loss: Tensor = norms[0] / norms[1] + distance
    return loss


def _magnitude(wav: Tensor, size: int) -> Tensor:
    """STFT magnitude ``[B, K, F]``, never quite zero."""
    window = torch.hann_window(size, dtype=wav.dtype, device=wav.device)
    mode = "reflect" if wav.shape[-1] > size // 2 else "constant"
    spectrum = torch.stft(wav, size, size // _OVERLAP, size, window, pad_mode=mode, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    return power.clamp_min(_POWER_FLOOR).sqrt()
