"""What the noise of the diffusion looks like in the waveform.

The diffusion itself always runs with white noise, on ``whiten(wav)``; the waveform is ``color`` of its
result. ``StandardPrior`` leaves both alone (DDPM, DiffWave). ``SpectralPrior`` filters with the spectral
envelope of the conditioning mel, so that in the waveform the noise has the shape of the speech (SpecGrad,
Koizumi et al. 2022), and in the diffusion speech has about the same variance at every frequency and in every
pause: a weak fricative counts as much as a loud vowel. ``EnergyPrior`` follows the loudness alone, the same for all
frequencies (PriorGrad, Lee et al. 2022). SpecGrad diffuses the waveform with coloured noise;
for an invertible filter the two are the same process, and here the filter runs once, not at every step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from diffwave.dsp.stft import FrameGeometry, istft, stft


class Prior(Protocol):
    """A linear map between the domain of the diffusion and the waveform."""

    def color(self, white: Tensor) -> Tensor:
        """From the domain of the diffusion to the waveform, ``[B, N]``."""

    def whiten(self, wav: Tensor) -> Tensor:
        """From the waveform to the domain of the diffusion, ``[B, N]``."""


@dataclass(frozen=True)
class StandardPrior:
    """White noise: both maps are the identity."""

    def color(self, white: Tensor) -> Tensor:
        """Return ``white`` unchanged."""
        return white

    def whiten(self, wav: Tensor) -> Tensor:
        """Return ``wav`` unchanged."""
        return wav


@dataclass(frozen=True, eq=False)
class EnergyPrior:
    """White noise that is as loud as the speech (PriorGrad, Lee et al. 2022, section 4); exactly invertible.

    PriorGrad gives every sample of a frame the same deviation, and weights the loss with its inverse (Mahalanobis, its
    equation 5). A loss in the domain of the diffusion has that weight; here the deviation moves smoothly from frame to
    frame, so that nothing steps at their edges.

    Args:
        gain: standard deviation of the noise at each sample, shape ``[B, N]``, positive.
    """

    gain: Tensor

    def color(self, white: Tensor) -> Tensor:
        """Scale ``[B, N]`` up to the waveform's energy."""
        return white * self.gain

    def whiten(self, wav: Tensor) -> Tensor:
        """Scale ``[B, N]`` to about unit variance everywhere."""
        return wav / self.gain


@dataclass(frozen=True, eq=False)
class SpectralPrior:
    """Noise with a given spectral envelope, by zero-phase filters in the STFT domain.

    Filtering there is not exactly invertible: with a rough envelope ``color(whiten(wav))`` differs from ``wav``.

    Args:
        envelope: magnitude response at each time and frequency, shape ``[B, n_fft / 2 + 1, N / hop]``, positive.
        geometry: frames that the envelope belongs to.
    """

    envelope: Tensor
    geometry: FrameGeometry

    def color(self, white: Tensor) -> Tensor:
        """Filter ``[B, N]`` with the envelope (SpecGrad, section 3.2)."""
        return istft(stft(white, self.geometry) * self.envelope, self.geometry)

    def whiten(self, wav: Tensor) -> Tensor:
        """Filter ``[B, N]`` with the inverse envelope."""
        return istft(stft(wav, self.geometry) / self.envelope, self.geometry)
