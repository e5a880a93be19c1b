"""Mels of another convention turned into those of a model, exactly, or refused."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffwave.adapters.comparison import refuse_if_impossible
from diffwave.adapters.convention import MelConvention
from diffwave.config import MelConfig
from diffwave.dsp.stft import FrameGeometry
from diffwave.mel.logarithms import from_nepers, to_nepers
from diffwave.mel.spectrogram import mel_filterbank
from diffwave.mel.values import OVERSHOOT, doubt, readings

# Loudest band of a signal at full scale (diffwave.mel.spectrogram has the same), in nepers.
_LOUDEST = {"slaney": 6.0, "none": 10.0}


class MelValueError(ValueError):
    """A mel whose numbers cannot be of the convention that was stated."""


class MelConversion:
    """From a stated convention to a model's.

    Args:
        theirs: of the mels that come.
        ours: of the model.

    Raises:
        ConventionError: if one cannot be converted to the other.

    Attributes:
        notes: what is converted, in words.
        shift: samples to cut off the front of the waveform (half a hop, where the framing differs).
    """

    def __init__(self, theirs: MelConvention, ours: MelConfig) -> None:
        self.notes = refuse_if_impossible(theirs, ours)
        self.theirs, self.ours = theirs, ours
        self.shift = 0 if theirs.mel.framing == ours.framing else ours.hop_length // 2
        self._gain = _gain(theirs.mel, ours)  # [M, 1]
        self._floor = math.log(ours.floor)

    def read(self, mels: Tensor) -> Tensor:
        """Bring mels to ``[B, M, F]`` in nepers, statistics undone, and make sure of them.

        Args:
            mels: with the axes of the convention, ``[B, ...]`` or one alone.

        Raises:
            MelValueError: for another shape, integers, values that are no numbers, or values out of any range that the
                convention can have.
        """
        values = self._shaped(mels)
        if not bool(torch.isfinite(values).all()):
            raise MelValueError(f"{self._expected()}; got NaN or infinite values (the logarithm of 0?)")
        values = self._destandardised(values)
        nepers = to_nepers(values, self.theirs.kind)
        self._check_range(values, nepers)
        return nepers

    def doubt(self, nepers: Tensor) -> str:
        """Why a mel that :meth:`read` let pass does not look like one of the convention; empty if it does.

        Args:
            nepers: what :meth:`read` gave.
        """
        if self.theirs.kind == "db01":
            return ""
        reason = doubt(nepers)
        return f"{self._expected()}; got {reason}{_hint(from_nepers(nepers, self.theirs.kind))}" if reason else ""

    def write(self, nepers: Tensor) -> Tensor:
        """What :meth:`read` gave as mels of the model, ``[B, M, F]``."""
        levelled = nepers + self._gain.to(nepers.device, nepers.dtype)
        return from_nepers(levelled.clamp_min(self._floor), self.ours.log).float()

    def _shaped(self, mels: Tensor) -> Tensor:
        expected = self._expected()
        if not isinstance(mels, Tensor) or not mels.is_floating_point() or mels.layout != torch.strided:
            kind = str(mels.dtype) if isinstance(mels, Tensor) else type(mels).__name__
            raise MelValueError(f"{expected}, a tensor of floats; got {kind}")
        # In float64, so that numbers that come back to the logarithm they had are the same to the bit.
        batch = mels.detach().double()
        batch = batch.unsqueeze(0) if batch.ndim == 2 else batch
        if batch.ndim != 3 or batch.numel() == 0:
            raise MelValueError(f"{expected}; got shape {list(mels.shape)}")
        first = batch.transpose(1, 2) if self.theirs.axes == "frames-first" else batch
        bands = self.theirs.mel.n_mels
        if first.shape[1] != bands:
            swapped = " (transposed?)" if first.shape[2] == bands else ""
            raise MelValueError(f"{expected}; got shape {list(mels.shape)}{swapped}")
        return first

    def _destandardised(self, values: Tensor) -> Tensor:
        theirs = self.theirs
        if theirs.scale:
            values = values * _column(theirs.scale, values)
        if theirs.mean:
            values = values + _column(theirs.mean, values)
        return values

    def _check_range(self, values: Tensor, nepers: Tensor) -> None:
        smallest, largest = float(values.min()), float(values.max())
        if self.theirs.kind == "linear" and smallest < 0:
            raise MelValueError(f"{self._expected()}; got values down to {smallest:.3g} (a logarithm?){_hint(values)}")
        low = -math.inf if self.theirs.kind == "linear" else math.log(self.theirs.mel.floor) - OVERSHOOT
        high = _LOUDEST[self.theirs.mel.mel_norm]
        if self.theirs.kind == "db01":
            low, high = (float(to_nepers(torch.tensor(end), "db01")) for end in (-0.087, 1.087))
        if float(nepers.min()) < low or float(nepers.max()) > high:
            ends = [float(from_nepers(torch.tensor(end), self.theirs.kind)) for end in (low, high)]
            if self.theirs.kind == "db01":
                ends = [0.0, 1.0]
            raise MelValueError(
                f"{self._expected()}, values in [{ends[0]:.4g}, {ends[1]:.4g}]; got values in "
                f"[{smallest:.4g}, {largest:.4g}] (another logarithm or normalisation?){_hint(values)}"
            )

    def _expected(self) -> str:
        theirs = self.theirs
        bands = theirs.mel.n_mels
        axes = f"[frames, {bands} bands]" if theirs.axes == "frames-first" else f"[{bands} bands, frames]"
        statistics = ", standardised" if theirs.standardised else ""
        return f"expected {theirs.name} mels {axes}, {theirs.kind}{statistics}"


def _gain(theirs: MelConfig, ours: MelConfig) -> Tensor:
    """What to add, in nepers ``[M, 1]``, where the triangles' height or the window's energy is divided out or not."""
    gain = torch.zeros(ours.n_mels, 1, dtype=torch.float64)
    if theirs.mel_norm != ours.mel_norm:
        # Bands too narrow to hold a bin are empty in both.
        sums = [mel_filterbank(config).double().sum(dim=1, keepdim=True).clamp_min(1e-30) for config in (theirs, ours)]
        gain = gain + (sums[1] / sums[0]).log()
    if theirs.stft_normalized != ours.stft_normalized:
        geometry = FrameGeometry(ours.n_fft, ours.hop_length, ours.win_length, ours.framing)
        energy = float(geometry.window(torch.device("cpu"), torch.float64).square().sum())
        gain = gain + (0.5 if theirs.stft_normalized else -0.5) * math.log(energy)
    return gain


def _column(statistics: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(statistics, dtype=like.dtype, device=like.device).unsqueeze(-1)  # [M, 1], or [1, 1]


def _hint(values: Tensor) -> str:
    """Which logarithm the numbers would be speech in, if any."""
    fitting = readings(values)
    if fitting:
        return f"; they would be speech as {' or '.join(fitting)}"
    mean, std = float(values.mean()), float(values.std()) if values.numel() > 1 else 0.0
    if abs(mean) < 0.5 and 0.5 < std < 1.5:
        return "; they look standardised: state their mean and scale"
    if -4.01 < float(values.min()) <= -3.9 and float(values.max()) <= 4.01:
        return "; they look normalised to [-4, 4]: state their mean and scale (diffwave.adapters.coqui reads them)"
    return ""
