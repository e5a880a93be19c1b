"""Short-time Fourier transform with exactly one frame per hop, and its inverse.

A signal of ``N = F * hop`` samples has ``F`` frames: ``n_fft - hop`` samples of padding are split between
the two ends so that frame ``i`` is centred at ``i * hop + offset``, with ``offset = hop / 2`` (``hop``
framing, HiFi-GAN) or 0 (``centre`` framing, librosa's ``center=True`` without its extra last frame).
``torch.istft`` cannot undo the first kind, so the overlap-add is written out here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class FrameGeometry:
    """Sizes of the frames, in samples, and how they are centred (``hop`` or ``centre``)."""

    n_fft: int
    hop_length: int
    win_length: int
    framing: str = "hop"

    @property
    def padding(self) -> tuple[int, int]:
        """Samples added before and after the signal; together ``n_fft - hop_length``."""
        centre = self.hop_length // 2 if self.framing == "hop" else 0
        left = self.n_fft // 2 - centre
        return left, self.n_fft - self.hop_length - left

    def window(self, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
        """Periodic Hann window, zero-padded on both sides to ``[n_fft]``."""
        window = torch.hann_window(self.win_length, periodic=True, dtype=dtype, device=device)
        left = (self.n_fft - self.win_length) // 2
        return F.pad(window, (left, self.n_fft - self.win_length - left))


class FrameTransform:
    """The transform and its inverse for signals of one length; what both need is made once.

    Spectra are complex, ``[B, F, K]`` with ``K = n_fft / 2 + 1``, a frame after the other as they lie in memory.

    Args:
        geometry: frame sizes; for the inverse, windows must overlap everywhere (``hop <= win / 2`` does).
        frames: ``F``.
        device, dtype: of the signals.

    Attributes:
        window: of a frame, ``[n_fft]``.
        energy: sum of the squared windows at every sample, ``[1, F * hop]``.
    """

    def __init__(self, geometry: FrameGeometry, frames: int, device: torch.device, dtype: torch.dtype) -> None:
        self.geometry = geometry
        self._samples = frames * geometry.hop_length
        self.window = geometry.window(device, dtype)
        weight = self.window.square().expand(1, frames, -1)
        # The floor only matters at the very ends of centred frames, where a single window begins with zero.
        self.energy = self._inside(_overlap_add(weight, geometry.hop_length)).clamp_min(1e-8)

    def analyse(self, wav: Tensor) -> Tensor:
        """Spectra of ``[B, F * hop]``; the ends are reflected, or padded with zeros in a short signal."""
        frames = self.pad(wav).unfold(-1, self.geometry.n_fft, self.geometry.hop_length)
        spectra: Tensor = torch.fft.rfft(frames * self.window)
        return spectra

    def pad(self, wav: Tensor) -> Tensor:
        """``[B, F * hop]`` with its padding, ``[B, (F - 1) * hop + n_fft]``."""
        mode = "reflect" if self.reflects else "constant"
        return F.pad(wav.unsqueeze(1), self.geometry.padding, mode=mode).squeeze(1)

    @property
    def reflects(self) -> bool:
        """Whether the padding mirrors the signal; that of a short one is zero."""
        return self._samples > max(self.geometry.padding)

    def synthesise(self, spectra: Tensor) -> Tensor:
        """Least-squares inverse (Griffin & Lim 1984, equation 6), ``[B, F * hop]``."""
        pieces = torch.fft.irfft(spectra, n=self.geometry.n_fft) * self.window
        return self._inside(_overlap_add(pieces, self.geometry.hop_length)) / self.energy

    def _inside(self, padded: Tensor) -> Tensor:
        """Without the padding."""
        left, right = self.geometry.padding
        return padded[:, left : padded.shape[-1] - right]


def stft(wav: Tensor, geometry: FrameGeometry) -> Tensor:
    """Transform ``[B, N]`` into complex ``[B, n_fft / 2 + 1, N / hop]``.

    Args:
        wav: signal, shape ``[B, N]``; ``N`` a multiple of the hop. The ends are reflected, or padded with zeros
            where the signal is shorter than the padding.
        geometry: frame sizes.

    Raises:
        ValueError: if ``N`` is not a positive multiple of the hop.
    """
    frames = count_frames(wav, geometry)
    return FrameTransform(geometry, frames, wav.device, wav.dtype).analyse(wav).transpose(1, 2)


def count_frames(wav: Tensor, geometry: FrameGeometry) -> int:
    """Frames of ``[B, N]``.

    Raises:
        ValueError: if ``N`` is not a positive multiple of the hop.
    """
    samples = wav.shape[-1]
    if samples == 0 or samples % geometry.hop_length:
        raise ValueError(f"stft: expected a multiple of hop_length={geometry.hop_length} samples; got {samples}")
    return samples // geometry.hop_length


def istft(spectrum: Tensor, geometry: FrameGeometry) -> Tensor:
    """Least-squares inverse of :func:`stft` (Griffin & Lim 1984, equation 6), ``[B, N]``.

    Args:
        spectrum: complex, shape ``[B, n_fft / 2 + 1, F]``.
        geometry: frame sizes; windows must overlap everywhere (``hop <= win / 2`` does).
    """
    transform = FrameTransform(geometry, spectrum.shape[-1], spectrum.device, spectrum.real.dtype)
    return transform.synthesise(spectrum.transpose(1, 2))


def _overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Sum shifted frames ``[B, F, n_fft]`` into ``[B, (F - 1) * hop + n_fft]``."""
    examples, count, size = frames.shape
    parts = -(-size // hop)
    whole = F.pad(frames, (0, parts * hop - size)).reshape(examples, count, parts, hop)
    summed = frames.new_zeros(examples, count + parts - 1, hop)
    for part in range(parts):  # part j of frame i lies at hop i + j
        summed[:, part : part + count] += whole[:, :, part]
    return summed.reshape(examples, -1)[:, : (count - 1) * hop + size]
