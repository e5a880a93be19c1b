"""Mel consistency: a waveform is pushed towards a mel and keeps its phases as far as it can."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffwave.config import MelConfig
from diffwave.dsp.stft import FrameTransform, count_frames
from diffwave.kernels import native_consistency
from diffwave.mel.coverage import Coverage, cover
from diffwave.mel.logarithms import to_nepers
from diffwave.mel.spectrogram import MelSpectrogram, spreading

# For a waveform that has its phases already; more would carry away what a network has put in place.
MOMENTUM = 0.9
# From noise, more gets further in 60 iterations and more.
MOMENTUM_FROM_NOISE = 0.99


class MelConsistency(nn.Module):
    """Push a waveform towards a mel without touching its phase more than needed.

    One iteration multiplies the STFT by the ratio of target to own mel magnitude, spread over the bins, and
    transforms back. With momentum this is the fast Griffin-Lim scheme (Perraudin, Balazs & Sondergaard 2013)
    with a mel in place of the magnitude.

    Without gradients, in float32, a C kernel does it on CPUs with AVX-512; PyTorch on everything else.

    Args:
        mel: the front end whose convention the target has.
        momentum: weight of the last change added to each result, in ``[0, 1)``.
        limit: largest correction of one iteration, in nat.
        strength: share of each correction that is made, in ``(0, 1]``.
    """

    def __init__(
        self, mel: MelSpectrogram, momentum: float = MOMENTUM, limit: float = 2.0, strength: float = 1.0
    ) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"MelConsistency: momentum must be in [0, 1); got {momentum}")
        if not 0 < strength <= 1:
            raise ValueError(f"MelConsistency: strength must be in (0, 1]; got {strength}")
        self.mel = mel
        self.momentum = momentum
        self.limit = limit
        self.strength = strength

    def forward(self, wav: Tensor, target: Tensor, iterations: int, hold: Tensor | None = None) -> Tensor:
        """Return ``wav`` ``[B, N]`` after ``iterations`` pushes towards the log-mel ``target`` ``[B, M, F]``.

        Args:
            wav, target, iterations: what is pushed, where to, and how often.
            hold: how much of ``wav`` its first samples keep, from 0 to 1, shape ``[n]``: the rest finds phases that go
                on from theirs (as in real-time iterative spectrum inversion: Beauregard, Zhu & Wyse 2005).

        Raises:
            ValueError: if ``N`` is not a positive multiple of the hop.
        """
        frames = count_frames(wav, self.mel.geometry)
        goal = self.mel.expand(target).clamp_min(self.mel.config.floor).log().transpose(1, 2)
        goal = _coverage(self.mel.config).complete(goal)  # [B, F, M']
        if iterations > 0 and self._suits_kernel(wav, goal, frames):
            return self._push_natively(wav, goal, iterations, hold)
        return self._push(wav, goal, frames, iterations, hold)

    def _suits_kernel(self, wav: Tensor, goal: Tensor, frames: int) -> bool:
        """Whether the C kernel can take these."""
        if torch.compiler.is_compiling() or (torch.is_grad_enabled() and (wav.requires_grad or goal.requires_grad)):
            return False
        if any(tensor.device.type != "cpu" or tensor.dtype != torch.float32 for tensor in (wav, goal)):
            return False
        if wav.ndim != 2 or goal.shape[:2] != (len(wav), frames) or len(wav) == 0:
            return False  # shapes that broadcast, or do not fit
        return native_consistency.unavailable(self.mel.geometry) is None

    def _push_natively(self, wav: Tensor, goal: Tensor, iterations: int, hold: Tensor | None = None) -> Tensor:
        return native_consistency.push(
            wav,
            goal,
            self.mel.geometry,
            _filters(self.mel.config, self.strength),
            iterations=iterations,
            momentum=self.momentum,
            limit=self.limit,
            floor=self.mel.config.floor,
            ceiling=_ceiling(self.mel.config),
            squared=self.mel.of_power,
            hold=hold,
        )

    def _push(self, wav: Tensor, goal: Tensor, frames: int, iterations: int, hold: Tensor | None = None) -> Tensor:
        """All iterations in PyTorch, which defines what they are."""
        transform = FrameTransform(self.mel.geometry, frames, wav.device, wav.dtype)
        weights = _coverage(self.mel.config).filterbank.to(wav)
        scale, bins = _scale(self.mel.config, transform.window), self.strength * spreading(weights)
        bands = weights.t() * (scale**2 if self.mel.of_power else scale)
        projected, moved = wav, wav
        for _ in range(iterations):
            last, projected = projected, self._project(moved, goal, transform, bands, bins)
            if hold is not None:
                projected = held(projected, wav, hold)
            moved = torch.lerp(last, projected, 1 + self.momentum)
        return projected

    def _project(self, wav: Tensor, goal: Tensor, transform: FrameTransform, bands: Tensor, bins: Tensor) -> Tensor:
        """One correction of the magnitudes, ``[B, N]`` to ``[B, N]``.

        Args:
            wav: to be corrected.
            goal: log of the wanted sums of bands, shape ``[B, F, M']``.
            transform: to frames and back.
            bands, bins: from bins to bands ``[K, M']``, and from bands to bins ``[M', K]``.
        """
        spectra = transform.analyse(wav)
        magnitude = torch.linalg.vector_norm(torch.view_as_real(spectra), dim=-1)
        own = (magnitude.square() if self.mel.of_power else magnitude) @ bands  # [B, F, M']
        # Of power, a logarithm is twice as large as that of the magnitude that is corrected.
        power = 1 + self.mel.of_power
        change = goal - own.clamp(self.mel.config.floor, _ceiling(self.mel.config)).log()
        change = change.clamp(-power * self.limit, power * self.limit) / power
        return transform.synthesise(spectra * (change @ bins).exp())


def held(wav: Tensor, given: Tensor, hold: Tensor) -> Tensor:
    """Between two waveforms at the start.

    Args:
        wav: what the rest is of, shape ``[B, N]``.
        given: shape ``[B, N']``, ``N' >= n``.
        hold: share of ``given`` in the first samples, in ``[0, 1]``, shape ``[n]``.
    """
    count = len(hold)
    # With a share of 1 this is exactly what was given.
    return torch.cat([torch.lerp(wav[:, :count], given[:, :count], hold.to(wav.dtype)), wav[:, count:]], dim=1)


def push_together(
    wav: Tensor,
    targets: Sequence[tuple[MelConsistency, Tensor]],
    iterations: int,
    momentum: float = MOMENTUM,
    hold: Tensor | None = None,
) -> Tensor:
    """Push a waveform towards several mels at once: in each iteration towards one after the other.

    Args:
        wav: shape ``[B, N]``.
        targets: what pushes (its own momentum is of no account), and the log-mel ``[B, M, F]``; the last has the last
            word.
        iterations: of all of them.
        momentum: weight of the last change of an iteration added to its result, in ``[0, 1)``.
        hold: how much of ``wav`` its first samples keep, shape ``[n]``.
    """
    projected, moved = wav, wav
    for _ in range(iterations):
        last, projected = projected, moved
        for consistency, target in targets:
            projected = consistency(projected, target, 1)
            if hold is not None:
                projected = held(projected, wav, hold)
        moved = torch.lerp(last, projected, 1 + momentum)
    return projected


def _scale(config: MelConfig, window: Tensor) -> Tensor | float:
    """What magnitudes are multiplied by before they are added to bands."""
    return window.square().sum().rsqrt() if config.stft_normalized else 1.0


def _ceiling(config: MelConfig) -> float:
    """The largest sum that a convention can write down: what is louder need not be made softer."""
    return math.exp(float(to_nepers(torch.tensor(1.0), "db01"))) if config.log == "db01" else math.inf


@functools.lru_cache(maxsize=32)
def _coverage(config: MelConfig) -> Coverage:
    return cover(config)


@functools.lru_cache(maxsize=32)
def _filters(config: MelConfig, strength: float) -> native_consistency.Filters:
    """For the kernel; they take about as long to make as an iteration."""
    weights = _coverage(config).filterbank
    window = MelSpectrogram(config).geometry.window(torch.device("cpu"))
    scale = _scale(config, window)
    own = weights * (scale**2 if config.spectrum == "power" else scale)
    return native_consistency.Filters.of(own, strength * spreading(weights))
