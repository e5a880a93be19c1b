"""Weights of the loss by what is heard: errors of the network as differences of loudness.

In the domain of the diffusion every band of the spectrum counts alike, although half of all bands lie above 4 kHz,
where an ear has four of its 24 critical bands. A network that is small, or has learned little, spends itself on them.
Here a squared error of the predicted signal is weighted as a difference of specific loudness would be: with the
density of critical bands, and with the local level to the power that loudness grows with (Zwicker & Fastl 1999,
chapters 6 and 8). What a network with unlimited capacity would learn stays the same.
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
