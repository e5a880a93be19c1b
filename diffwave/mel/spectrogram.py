"""Mel spectrograms: from a waveform, and back to an envelope.

One front end serves training, synthesis and evaluation, on the device of its input. The convention
(``MelConfig``) travels in every checkpoint, because a mel of another convention is noise to a network as it comes.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from diffwave.config import MelConfig, convention_name
from diffwave.dsp.stft import FrameGeometry, stft
from diffwave.mel.logarithms import LOGARITHMS, compress, expand, to_nepers
from diffwave.mel.values import OVERSHOOT, doubt, hint, readings

# Largest log-mel of a full-scale signal: window sum 512, height of a slaney triangle about .02 and of an
# HTK triangle 1; +2 leaves room for signals that clip.
_LOG_LIMIT = {"slaney": 6.0, "none": 10.0}
_COARSE_FLOOR = 1e-4  # a mel cut off above this has too little left to tell logarithms by


class MelWarning(UserWarning):
    """A mel that is in range but does not look like speech in the model's convention."""


class MelValueError(ValueError):
    """A mel that cannot be of the convention that was stated."""


class MelSpectrogram(nn.Module):
    """Log-mel spectrogram with exactly ``F = N / hop_length`` frames.

    Args:
        config: the convention.
        name: of it, for messages; that of ``diffwave mels`` if not given.
    """

    filterbank: Tensor

    def __init__(self, config: MelConfig, name: str = "") -> None:
        super().__init__()
        self.config = config
        self.name = name or convention_name(config)
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
        return self.compress(self.filterbank.to(power.dtype) @ (power if self.of_power else power.sqrt()))

    @property
    def of_power(self) -> bool:
        """Whether bands add up the power of the spectrum."""
        return self.config.spectrum == "power"

    def compress(self, sums: Tensor) -> Tensor:
        """Sums of bands ``[..., M, F]`` to the convention's numbers."""
        config = self.config
        values = compress(sums + config.floor if config.floor_added else sums.clamp_min(config.floor), config.log)
        return self.standardise(values)

    def expand(self, mel: Tensor) -> Tensor:
        """Undo :meth:`compress` (what was clipped stays at the limit), ``[..., M, F]``."""
        sums = expand(self.destandardise(mel), self.config.log)
        return (sums - self.config.floor).clamp_min(0) if self.config.floor_added else sums

    def standardise(self, values: Tensor) -> Tensor:
        """Logarithms ``[..., M, F]`` to what the convention makes of them by its mean and scale."""
        if self.config.mean:
            values = values - _column(self.config.mean, values)
        return values / _column(self.config.scale, values) if self.config.scale else values

    def destandardise(self, mel: Tensor) -> Tensor:
        """Undo :meth:`standardise`."""
        if self.config.scale:
            mel = mel * _column(self.config.scale, mel)
        return mel + _column(self.config.mean, mel) if self.config.mean else mel

    def nepers(self, mel: Tensor) -> Tensor:
        """Natural logarithms of the magnitudes that a mel stands for, ``[..., M, F]``."""
        nepers = to_nepers(self.destandardise(mel), self.config.log)
        return nepers / 2 if self.of_power else nepers

    def envelope(self, mel: Tensor) -> Tensor:
        """Smooth STFT magnitude ``[B, K, F]`` that has this log-mel, ``K = n_fft / 2 + 1``.

        Each band's mean magnitude is spread over the bins with the same triangles, so that a flat spectrum
        comes back exactly; bins outside the filterbank take the nearest covered bin.
        """
        weights = self.filterbank.to(mel.dtype)
        mean = self.expand(mel) / weights.sum(dim=1, keepdim=True).clamp_min(1e-8)  # [B, M, F]
        if self.of_power:
            mean = mean.sqrt()
        return spreading(weights).t() @ mean

    def check(self, mel: Tensor) -> None:
        """Refuse a mel from elsewhere that cannot be of this convention, before it becomes noise.

        Args:
            mel: shape ``[B, M, F]``.

        Raises:
            MelValueError: what :meth:`check_range` and :meth:`check_convention` raise.
        """
        self.check_range(mel)
        self.check_convention(mel)

    def check_range(self, mel: Tensor) -> None:
        """Refuse what no waveform in ``[-1, 1]`` has as its mel.

        1 neper below the floor passes, as predictions have it.

        Args:
            mel: shape ``[B, M, F]``.

        Raises:
            MelValueError: wrong shape, band count, non-finite values, or values out of the convention's range.
        """
        mel, config = mel.detach(), self.config
        expected = self._expected()
        if mel.ndim != 3 or mel.shape[1] != config.n_mels:
            shape = list(mel.shape[1:]) if mel.ndim == 3 else list(mel.shape)
            swapped = mel.ndim == 3 and mel.shape[2] == config.n_mels
            raise MelValueError(f"{expected}; got shape {shape}" + (" (transposed?)" * swapped))
        if mel.shape[2] == 0:
            raise MelValueError(f"{expected}; got no frames")
        if not bool(torch.isfinite(mel).all()):
            raise MelValueError(f"{expected}; got NaN or infinite values (the logarithm of 0?)")
        low, high = self.limits()
        values = self.destandardise(mel)
        smallest, largest = float(values.min()), float(values.max())
        slope, _ = LOGARITHMS.get(config.log, (0.0, 0.0))
        if smallest < low - OVERSHOOT * slope or largest > high + OVERSHOOT * slope * (config.log == "db01"):
            undone = ", mean and scale undone," * config.standardised
            raise MelValueError(
                f"{expected}, values{undone} in [{low:.4g}, {high:.4g}]; got values in "
                f"[{smallest:.4g}, {largest:.4g}] (another logarithm, floor or normalisation?){self._hint(mel)}"
            )

    def within_limits(self, mel: Tensor) -> Tensor:
        """Raise what lies below the floor, ``[..., M, F]``, as in predicted mels (``db01``: lower what is above 1)."""
        low, high = self.limits()
        if not self.config.standardised:
            return mel.clamp(low, high)
        return self.standardise(self.destandardise(mel).clamp(low, high))

    def check_convention(self, mel: Tensor) -> None:
        """Refuse another logarithm or normalisation whose values happen to lie inside the range.

        Speech moves by several nats between its loudest and softest parts. A log10 mel read as ln moves 2.3
        times less, an ln mel read as log10 2.3 times more; a normalised one hovers around zero. Recordings of loud
        noise can look the same, so this is for mels whose origin is unknown.

        Args:
            mel: shape ``[B, M, F]``, in range.

        Raises:
            MelValueError: if the values do not look like speech in this convention.
        """
        # What db01 clips is too much for statistics.
        if self.config.log == "db01" or self.config.floor > _COARSE_FLOOR:
            return
        mel = mel.detach()
        values = self.destandardise(mel)
        as_ln = self._levelled(values, "ln") if self.config.log == "log10" else None
        reason = doubt(self._levelled(values, self.config.log), as_ln)
        if reason:
            raise MelValueError(f"{self._expected()}; got {reason}{self._hint(mel)}")

    def _levelled(self, values: Tensor, log: str) -> Tensor:
        """Nepers ``[B, M, F]`` as the usual window and triangles would have them, of numbers read in a logarithm."""
        nepers = to_nepers(values, log)
        usual = replace(self.config, mel_norm="slaney", stft_normalized=False, spectrum="magnitude")
        # In longer windows noise is louder, and more bins are added up.
        bins = self.config.n_fft / self.config.sample_rate * 16000 / 1024
        louder = max(0.0, 0.5 * math.log(self.config.win_length / 1024) + math.log(bins))
        return (nepers / 2 if self.of_power else nepers) + levelling(self.config, usual).to(nepers) - louder

    def _hint(self, mel: Tensor) -> str:
        """What refused numbers may be instead, for the end of a message."""
        if self.config.standardised and (plain := readings(mel, self._levelled)):
            return f"; they would be speech as {' or '.join(plain)}, not standardised"
        return hint(self.destandardise(mel), self._levelled)

    def _expected(self) -> str:
        named = f" {self.name}" if self.name else ""
        return f"expected a mel [{self.config.n_mels} bands, frames] of{named}: {self.config.describe()}"

    def limits(self) -> tuple[float, float]:
        """Smallest and largest logarithm that a mel of this convention can have, before mean and scale."""
        config = self.config
        if config.log == "db01":
            return 0.0, 1.0
        # Longer windows add up more of a tone.
        high = (_LOG_LIMIT[config.mel_norm] + max(0.0, math.log(config.win_length / 1024))) * (1 + self.of_power)
        if config.log == "linear":
            return 0.0, math.exp(high)
        slope, _ = LOGARITHMS[config.log]
        floor = torch.tensor(config.floor, dtype=torch.float64).log().item()
        return floor * slope, high * slope


def _column(statistics: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(statistics, dtype=like.dtype, device=like.device).unsqueeze(-1)  # [M, 1], or [1, 1]


def levelling(theirs: MelConfig, ours: MelConfig) -> Tensor:
    """What to add to nepers where only the triangles' height, the window's energy or magnitude and power differ.

    Args:
        theirs, ours: from which convention to which.

    Returns:
        Shape ``[M, 1]``, float64; exact but from power to magnitude, where it is right for a flat spectrum.
    """
    if theirs.mel_norm == ours.mel_norm and theirs.spectrum == ours.spectrum:
        gain = torch.zeros(ours.n_mels, 1, dtype=torch.float64)
    else:
        # Bands too narrow to hold a bin are empty in both. Of power, half the logarithm counts.
        sums = [
            mel_filterbank(config).double().sum(dim=1, keepdim=True).clamp_min(1e-30).log() for config in (theirs, ours)
        ]
        halves = [0.5 if config.spectrum == "power" else 1.0 for config in (theirs, ours)]
        gain = sums[1] * halves[1] - sums[0] * halves[0]
    if theirs.stft_normalized != ours.stft_normalized:
        geometry = FrameGeometry(ours.n_fft, ours.hop_length, ours.win_length, ours.framing)
        energy = float(geometry.window(torch.device("cpu"), torch.float64).square().sum())
        gain = gain + (0.5 if theirs.stft_normalized else -0.5) * math.log(energy)
    return gain


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
    corners, bins = band_corners(config), bin_frequencies(config)
    width = corners.diff()[:, None]  # [M + 1, 1]
    distance = bins - corners[:, None]  # [M + 2, K]
    filters = torch.minimum(distance[:-2] / width[:-1], -distance[2:] / width[1:]).clamp_min(0)  # [M, K]
    if config.mel_norm == "slaney":
        filters = filters * (2 / (corners[2:] - corners[:-2]))[:, None]
    return filters.float().contiguous()


def band_corners(config: MelConfig) -> Tensor:
    """Where triangles begin, culminate and end, in Hz, float64 ``[M + 2]``: band ``i`` from ``i`` to ``i + 2``."""
    ends = _hz_to_mel(torch.tensor([config.f_min, config.f_max], dtype=torch.float64), config.mel_scale)
    return _mel_to_hz(torch.linspace(ends[0], ends[1], config.n_mels + 2, dtype=torch.float64), config.mel_scale)


def bin_frequencies(config: MelConfig) -> Tensor:
    """In Hz, float64 ``[K]``, ``K = n_fft // 2 + 1``."""
    if config.n_fft % 2:
        return torch.arange(config.n_fft // 2 + 1, dtype=torch.float64) * (config.sample_rate / config.n_fft)
    return torch.linspace(0, config.sample_rate // 2, config.n_fft // 2 + 1, dtype=torch.float64)


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
