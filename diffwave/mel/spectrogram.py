"""Mel spectrograms: from a waveform, and back to an envelope.

One front end serves training, synthesis and evaluation, on the device of its input. The convention
(``MelConfig``) travels in every checkpoint, because a mel of another convention is noise to a network.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from diffwave.config import MelConfig
from diffwave.dsp.stft import FrameGeometry, stft
from diffwave.mel.logarithms import LOGARITHMS, compress, expand, to_nepers
from diffwave.mel.values import OVERSHOOT, doubt

# Largest log-mel of a full-scale signal: window sum 512, height of a slaney triangle about .02 and of an
# HTK triangle 1; +2 leaves room for signals that clip.
_LOG_LIMIT = {"slaney": 6.0, "none": 10.0}
_COARSE_FLOOR = 1e-4  # a mel cut off above this has too little left to tell logarithms by


class MelWarning(UserWarning):
    """A mel that is in range but does not look like speech in the model's convention."""


class MelSpectrogram(nn.Module):
    """Log-mel spectrogram with exactly ``F = N / hop_length`` frames.

    Args:
        config: the convention.
    """

    filterbank: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.geometry = FrameGeometry(config.n_fft, config.hop_length, config.win_length, config.framing)
        self.register_buffer("filterbank", mel_filterbank(config), persistent=False)  # [M, K]

    def forward(self, wav: Tensor) -> Tensor:
        """Return the log-mel ``[B, M, F]`` of ``wav`` ``[B, N]``, with ``N = F * hop_length``.

        Raises:
            ValueError: if ``N`` is not a positive multiple of the hop.
        """
        spectrum = stft(wav, self.geometry)
        if self.config.stft_normalized:
            window = self.geometry.window(wav.device, wav.dtype)
            spectrum = spectrum / window.square().sum().sqrt()
        power = spectrum.real.square() + spectrum.imag.square() + self.config.magnitude_epsilon
        return self.compress(self.filterbank.to(power.dtype) @ power.sqrt())

    def compress(self, magnitude: Tensor) -> Tensor:
        """Mel magnitudes to the convention's logarithm; any shape."""
        return compress(magnitude.clamp_min(self.config.floor), self.config.log)

    def expand(self, mel: Tensor) -> Tensor:
        """Undo :meth:`compress` (what was clipped stays at the limit); any shape."""
        return expand(mel, self.config.log)

    def envelope(self, mel: Tensor) -> Tensor:
        """Smooth STFT magnitude ``[B, K, F]`` that has this log-mel, ``K = n_fft / 2 + 1``.

        Each band's mean magnitude is spread over the bins with the same triangles, so that a flat spectrum
        comes back exactly; bins outside the filterbank take the nearest covered bin.
        """
        weights = self.filterbank.to(mel.dtype)
        mean = self.expand(mel) / weights.sum(dim=1, keepdim=True).clamp_min(1e-8)  # [B, M, F]
        return spreading(weights).t() @ mean

    def check(self, mel: Tensor) -> None:
        """Refuse a mel from elsewhere that cannot be of this convention, before it becomes noise.

        Args:
            mel: shape ``[B, M, F]``.

        Raises:
            ValueError: what :meth:`check_range` and :meth:`check_convention` raise.
        """
        self.check_range(mel)
        self.check_convention(mel)

    def check_range(self, mel: Tensor) -> None:
        """Refuse what no waveform in ``[-1, 1]`` has as its mel.

        1 neper below the floor passes, as predictions have it.

        Args:
            mel: shape ``[B, M, F]``.

        Raises:
            ValueError: wrong shape, band count, non-finite values, or values out of the convention's range.
        """
        mel, config = mel.detach(), self.config
        expected = self._expected()
        if mel.ndim != 3 or mel.shape[1] != config.n_mels:
            shape = list(mel.shape[1:]) if mel.ndim == 3 else list(mel.shape)
            swapped = mel.ndim == 3 and mel.shape[2] == config.n_mels
            raise ValueError(f"{expected}; got shape {shape}" + (" (transposed?)" * swapped))
        if mel.shape[2] == 0:
            raise ValueError(f"{expected}; got no frames")
        if not bool(torch.isfinite(mel).all()):
            raise ValueError(f"{expected}; got NaN or infinite values")
        low, high = self.limits()
        smallest, largest = float(mel.min()), float(mel.max())
        slope, _ = LOGARITHMS[config.log]
        if smallest < low - OVERSHOOT * slope or largest > high + OVERSHOOT * slope * (config.log == "db01"):
            raise ValueError(
                f"{expected}, values in [{low:.2f}, {high:.2f}]; got values in "
                f"[{smallest:.2f}, {largest:.2f}] (another logarithm, floor or normalisation?)"
            )

    def within_limits(self, mel: Tensor) -> Tensor:
        """Raise to the floor what a predicted mel has below it (``db01``: also lower what is above 1); any shape."""
        low, high = self.limits()
        return mel.clamp(low, high)

    def check_convention(self, mel: Tensor) -> None:
        """Refuse another logarithm or normalisation whose values happen to lie inside the range.

        Speech moves by several nats between its loudest and softest parts. A log10 mel read as ln moves 2.3
        times less, an ln mel read as log10 2.3 times more; a normalised one hovers around zero. Recordings of loud
        noise can look the same, so this is for mels whose origin is unknown.

        Args:
            mel: shape ``[B, M, F]``, in range.

        Raises:
            ValueError: if the values do not look like speech in this convention.
        """
        # What db01 clips is too much for statistics.
        if self.config.log == "db01" or self.config.floor > _COARSE_FLOOR:
            return
        reason = doubt(to_nepers(mel.detach(), self.config.log))
        if reason:
            hint = " (multiply by 2.3026)" if self.config.log == "ln" and "log10 read as ln" in reason else ""
            raise ValueError(f"{self._expected()}; got {reason}{hint}")

    def _expected(self) -> str:
        return f"expected a mel [{self.config.n_mels} bands, frames] of: {self.config.describe()}"

    def limits(self) -> tuple[float, float]:
        """Smallest and largest value a mel of this convention can have."""
        if self.config.log == "db01":
            return 0.0, 1.0
        high = _LOG_LIMIT[self.config.mel_norm]
        slope, _ = LOGARITHMS[self.config.log]
        floor = torch.tensor(self.config.floor, dtype=torch.float64).log().item()
        return floor * slope, high * slope


def spreading(weights: Tensor) -> Tensor:
    """Interpolation from bands to bins, both ``[M, K]``: normalised triangles, the outermost ones level outwards."""
    total = weights.sum(dim=0)  # [K]
    covered = total > 1e-8
    index = torch.arange(len(total), device=weights.device)
    # As tensors: to read them as numbers would wait for a GPU.
    first, last = torch.where(covered, index, len(total)).min(), torch.where(covered, index, -1).max()
    return (weights / total.clamp_min(1e-8))[:, index.clamp(first, last)]


def mel_filterbank(config: MelConfig) -> Tensor:
    """Triangular filters ``[M, K]``, ``K = n_fft / 2 + 1``.

    The same as ``torchaudio.functional.melscale_fbanks``, which would take longer to import than all else but PyTorch.
    """
    ends = _hz_to_mel(torch.tensor([config.f_min, config.f_max], dtype=torch.float64), config.mel_scale)
    corners = _mel_to_hz(torch.linspace(ends[0], ends[1], config.n_mels + 2, dtype=torch.float64), config.mel_scale)
    bins = torch.linspace(0, config.sample_rate // 2, config.n_fft // 2 + 1, dtype=torch.float64)  # [K]
    width = corners.diff()[:, None]  # [M + 1, 1]
    distance = bins - corners[:, None]  # [M + 2, K]
    filters = torch.minimum(distance[:-2] / width[:-1], -distance[2:] / width[1:]).clamp_min(0)  # [M, K]
    if config.mel_norm == "slaney":
        filters = filters * (2 / (corners[2:] - corners[:-2]))[:, None]
    return filters.float().contiguous()


# Slaney's scale (Auditory Toolbox, 1998): linear up to 1 kHz, then logarithmic; 27 steps multiply by 6.4.
_LINEAR_HZ, _KNEE_HZ, _LOG_STEP = 200.0 / 3, 1000.0, math.log(6.4) / 27


def _hz_to_mel(hz: Tensor, scale: str) -> Tensor:
    if scale == "htk":
        return 2595.0 * torch.log10(1 + hz / 700.0)
    above = _KNEE_HZ / _LINEAR_HZ + (hz.clamp_min(_KNEE_HZ) / _KNEE_HZ).log() / _LOG_STEP
    return torch.where(hz < _KNEE_HZ, hz / _LINEAR_HZ, above)


def _mel_to_hz(mel: Tensor, scale: str) -> Tensor:
    if scale == "htk":
        return 700.0 * (torch.pow(10.0, mel / 2595.0) - 1)
    knee = _KNEE_HZ / _LINEAR_HZ
    return torch.where(mel < knee, mel * _LINEAR_HZ, _KNEE_HZ * ((mel - knee) * _LOG_STEP).exp())
