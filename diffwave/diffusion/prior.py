"""What the noise of the diffusion looks like.

``StandardPrior`` is white noise (DDPM, DiffWave). ``SpectralPrior`` is noise with the spectral envelope of
the conditioning mel, a time-varying filter ``L`` applied in the STFT domain (SpecGrad, Koizumi et al. 2022):
``noise = L white``. The network then works on ``L^-1 noisy``, where speech and noise both have unit variance
at every frequency and in every pause, and a weak fricative counts as much as a loud vowel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from diffwave.stft import FrameGeometry, istft, stft


class Prior(Protocol):
    """A linear map between white noise and the noise of a diffusion process."""

    def color(self, white: Tensor) -> Tensor:
        """Give white noise ``[B, N]`` the shape of the prior."""

    def whiten(self, wav: Tensor) -> Tensor:
        """Undo :meth:`color`, ``[B, N]``."""


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
class SpectralPrior:
    """Noise with a given spectral envelope.

    Args:
        envelope: standard deviation of the noise at each time and frequency, as an amplitude of the waveform,
            shape ``[B, n_fft / 2 + 1, F]``, positive.
        geometry: frames that the envelope belongs to.
    """

    envelope: Tensor
    geometry: FrameGeometry

    def color(self, white: Tensor) -> Tensor:
        """Filter white noise ``[B, N]`` with the envelope (SpecGrad, equation 12: zero-phase filter)."""
        return istft(stft(white, self.geometry) * self.envelope, self.geometry)

    def whiten(self, wav: Tensor) -> Tensor:
        """Filter ``[B, N]`` with the inverse envelope."""
        return istft(stft(wav, self.geometry) / self.envelope, self.geometry)
