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


def stft(wav: Tensor, geometry: FrameGeometry) -> Tensor:
    """Transform ``[B, N]`` into complex ``[B, n_fft / 2 + 1, N / hop]``.

    Args:
        wav: signal, shape ``[B, N]``; ``N`` a multiple of the hop. The ends are reflected, or padded with zeros
            where the signal is shorter than the padding.
        geometry: frame sizes.

    Raises:
        ValueError: if ``N`` is not a positive multiple of the hop.
    """
    samples = wav.shape[-1]
    if samples == 0 or samples % geometry.hop_length:
        raise ValueError(f"stft: expected a multiple of hop_length={geometry.hop_length} samples; got {samples}")
    mode = "reflect" if samples > max(geometry.padding) else "constant"
    padded = F.pad(wav.unsqueeze(1), geometry.padding, mode=mode).squeeze(1)
    window = geometry.window(wav.device, wav.dtype)
    return torch.stft(
        padded,
        geometry.n_fft,
        hop_length=geometry.hop_length,
        window=window,
        center=False,
        return_complex=True,
    )


def istft(spectrum: Tensor, geometry: FrameGeometry) -> Tensor:
    """Least-squares inverse of :func:`stft` (Griffin & Lim 1984, equation 6), ``[B, N]``.

    Args:
        spectrum: complex, shape ``[B, n_fft / 2 + 1, F]``.
        geometry: frame sizes; windows must overlap everywhere (``hop <= win / 2`` does).
    """
    frames = spectrum.shape[-1]
    window = geometry.window(spectrum.device, spectrum.real.dtype)
    pieces = torch.fft.irfft(spectrum, n=geometry.n_fft, dim=1) * window[:, None]  # [B, n_fft, F]
    weight = window.square()[None, :, None].expand(1, -1, frames)
    left, right = geometry.padding
    total = _overlap_add(pieces, geometry)
    energy = _overlap_add(weight, geometry)
    stop = total.shape[-1] - right
    # The floor only matters at the very ends of centred frames, where a single window begins with zero.
    return total[:, left:stop] / energy[:, left:stop].clamp_min(1e-8)


def _overlap_add(frames: Tensor, geometry: FrameGeometry) -> Tensor:
    """Sum shifted frames ``[B, n_fft, F]`` into ``[B, (F - 1) * hop + n_fft]``."""
    count = frames.shape[-1]
    samples = (count - 1) * geometry.hop_length + geometry.n_fft
    summed = F.fold(
        frames, (1, samples), kernel_size=(1, geometry.n_fft), stride=(1, geometry.hop_length)
    )  # [B, 1, 1, samples]
    return summed[:, 0, 0]
