"""A finer mel than the one that is given: what a waveform with this mel most likely did within its frames.

Waveforms with the same mel differ in what happens within a frame and a band, and PESQ, whose frames are half as long,
hears it. The refiner is a small network at the mel's rate that sees the mel and, of a finished waveform, a mel with
frames of half the size and hop. It answers with the finer mel that the recording had, in the middle of all that are
possible; the waveform is then pushed towards both. Phases stay the waveform's own, so this may be done again with what
comes out (as in deep Griffin-Lim iteration, Masuyama et al. 2019, where a network works between projections).
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffwave.config import MelConfig, ModelConfig, SamplingConfig
from diffwave.mel.consistency import MelConsistency, push_together
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.protocol import VocoderRefiner

DIVISION = 2
_KERNEL = 5  # of a block's convolution over time, in frames


def finer(mel: MelConfig) -> MelConfig:
    """The convention of the finer mel: as many bands, frames of half the size and hop, natural logarithm."""
    sizes = {name: getattr(mel, name) // DIVISION for name in ("n_fft", "win_length", "hop_length")}
    return replace(mel, log="ln", stft_normalized=False, **sizes)


class RefinerBlock(nn.Module):
    """A depthwise dilated convolution over time and two products, added to the stream (Liu et al. 2022, ConvNeXt).

    Args:
        channels: of the stream.
        hidden: between the products.
        dilation: of the convolution, in frames.
    """

    def __init__(self, channels: int, hidden: int, dilation: int) -> None:
        super().__init__()
        padding = dilation * (_KERNEL // 2)
        self.convolution = nn.Conv1d(channels, channels, _KERNEL, padding=padding, dilation=dilation, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, hidden)
        self.narrow = nn.Linear(hidden, channels)
        nn.init.zeros_(self.narrow.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, F]`` to the same."""
        y = self.norm(self.convolution(x).transpose(1, 2))  # [B, F, C]
        added: Tensor = self.narrow(F.gelu(self.widen(y)))
        return x + added.transpose(1, 2)


class Refiner(nn.Module):
    """The network: ``(mel, finer mel of an estimate) -> finer mel of the recording``.

    Both finer mels are taken relative to :meth:`guess`, what a steady sound with this mel would have. The network
    begins as half of the estimate's deviation from it, for an average of what is possible deviates less than each.

    Args:
        config: the whole model, for its mel and the refiner's shape.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        shape, bands = config.refiner, config.mel.n_mels
        self.mean, self.std = config.network.condition_mean, config.network.condition_std
        self.coarse = MelSpectrogram(config.mel)
        self.fine = MelSpectrogram(finer(config.mel))
        self.enter = nn.Conv1d((1 + DIVISION) * bands, shape.channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            RefinerBlock(shape.channels, shape.hidden, dilation) for dilation in shape.dilations
        )
        self.leave = nn.Linear(shape.channels, DIVISION * bands)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, mel: Tensor, estimate: Tensor) -> Tensor:
        """Find the finer mel.

        Args:
            mel: log-mel, shape ``[B, M, F]``.
            estimate: finer log-mel of a waveform that has about this mel, shape ``[B, M, 2 F]``.

        Returns:
            Shape ``[B, M, 2 F]``.
        """
        guess = self.guess(mel)
        return guess + self.deviation(mel, estimate - guess)

    def guess(self, mel: Tensor) -> Tensor:
        """See :func:`steady`."""
        return steady(self.coarse, self.fine, mel)

    def deviation(self, mel: Tensor, deviation: Tensor) -> Tensor:
        """:meth:`forward` relative to the guess on both sides, ``[B, M, 2 F]``."""
        pairs = _pair(deviation)  # [B, 2 M, F]
        x = self.enter(torch.cat([(mel - self.mean) / self.std, 2 * pairs], dim=1))
        for block in self.blocks:
            x = block(x)
        return _unpair(0.5 * pairs + self.leave(x.transpose(1, 2)).transpose(1, 2))


def steady(coarse: MelSpectrogram, fine: MelSpectrogram, mel: Tensor) -> Tensor:
    """Finer log-mel of a sound as steady and as flat within its bands as the mel allows.

    Args:
        coarse, fine: the conventions of the mel and of the finer one.
        mel: log-mel, shape ``[B, M, F]``.

    Returns:
        Shape ``[B, M, 2 F]``.
    """
    envelope = coarse.envelope(mel)[:, ::DIVISION]
    if coarse.config.stft_normalized:
        envelope = envelope * coarse.geometry.window(mel.device, mel.dtype).square().sum().sqrt()
    # A window of half the length has half the energy, and so has the power of noise in a bin.
    return fine.compress(fine.filterbank @ envelope * DIVISION**-0.5).repeat_interleave(DIVISION, dim=-1)


def _pair(fine: Tensor) -> Tensor:
    """The frames within one of the mel's frames side by side, ``[B, M, 2 F] -> [B, 2 M, F]``."""
    examples, bands, frames = fine.shape
    return fine.reshape(examples, bands, frames // DIVISION, DIVISION).transpose(2, 3).flatten(1, 2)


def _unpair(pairs: Tensor) -> Tensor:
    """Undo :func:`_pair`."""
    examples, bands, frames = pairs.shape
    return pairs.reshape(examples, bands // DIVISION, DIVISION, frames).transpose(2, 3).flatten(2, 3)


def refine(
    refiner: VocoderRefiner, settings: SamplingConfig, wav: Tensor, mel: Tensor, hold: Tensor | None = None
) -> Tensor:
    """Push waveforms towards their mel and the finer mels that the refiner finds.

    Args:
        refiner: on the device of the waveforms.
        settings: how often.
        wav: shape ``[B, N]``.
        mel: log-mel, shape ``[B, M, F]``.
        hold: how much of ``wav`` its first samples keep, shape ``[n]``.

    Returns:
        Waveforms ``[B, N]``.
    """
    fine = MelConsistency(refiner.fine, strength=settings.refinement_strength)
    coarse = MelConsistency(refiner.coarse)
    for _ in range(settings.refinements):
        targets = [(fine, _answer(refiner, wav, mel)), (coarse, mel)]
        wav = push_together(wav, targets, settings.refinement_iterations, hold=hold)
    return wav


def _answer(refiner: VocoderRefiner, wav: Tensor, mel: Tensor) -> Tensor:
    """The finer mels ``[B, M, 2 F]`` of waveforms ``[B, N]``."""
    if wav.device.type != "cpu":
        return refiner(mel, refiner.fine(wav))
    # One by one: larger products round otherwise, and the iterations that follow make much of that.
    return torch.cat([refiner(mel[i : i + 1], refiner.fine(wav[i : i + 1])) for i in range(len(wav))])
