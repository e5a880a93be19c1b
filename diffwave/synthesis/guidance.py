"""Sampling that stays near the mel: consistency before the first call of the network and on the estimate of each.

A network knows how the parts of speech hang together in time, but its estimates miss the mel it was given, most of
all when it has learned little; mel consistency meets the mel and knows nothing else. Taking turns, each works on what
the other has left: the pushed estimate gets noise again, and the network removes it, and with it what is not like
speech. Griffin-Lim between the steps of a diffusion vocoder is GLA-Grad (Liu et al. 2024); a start at a middle noise
level from an estimate is SDEdit's (Meng et al. 2022). In the end a refiner, if there is one, finds what the mel leaves
open (:mod:`diffwave.network.refiner`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffwave.config import SamplingConfig
from diffwave.mel.consistency import MOMENTUM_FROM_NOISE, MelConsistency, held
from diffwave.mel.spectrogram import MelSpectrogram
from diffwave.network.protocol import VocoderRefiner
from diffwave.network.refiner import refine
from diffwave.synthesis.domains import Domain


@dataclass(frozen=True, eq=False)
class MelGuide:
    """Pushes clean estimates, and what comes out in the end, towards mels (a ``Guide`` of the denoiser).

    Args:
        front_end: the convention of the mels.
        targets: the log-mel ``[b, M, F]`` and the domain of each group of ``b`` examples of one length, in order.
        settings: how often to push.
        refiner: that finds finer mels for the result, if there is one.
        pasts: how the waveform of each group begins, ``[b, n]`` with the same ``n`` for all, where that is known; the
            rest goes on from it.
        hold: how much of that the samples keep, in ``[0, 1]``, shape ``[n]``; it should fade in the end, for phases
            cannot meet at once.
    """

    front_end: MelSpectrogram
    targets: Sequence[tuple[Tensor, Domain]]
    settings: SamplingConfig
    refiner: VocoderRefiner | None = None
    pasts: Sequence[Tensor] = ()
    hold: Tensor | None = None

    def start(self, noise: Tensor) -> Tensor | None:
        """A consistent estimate in the domain of the diffusion, made of white noise, ``[B, N]``; None if not wanted."""
        if self.settings.consistency_at != "warm":
            return None
        made = [domain.start() for _, domain in self.targets]
        if any(estimate is not None for estimate in made):
            return self._beside(noise, [estimate for estimate in made if estimate is not None])
        return self._push(noise, MelConsistency(self.front_end, MOMENTUM_FROM_NOISE), self.settings.warm_iterations)

    def correct(self, index: int, clean: Tensor) -> Tensor:
        """The estimate ``[B, N]`` of step ``index``, nearer to the mels; the last one is finished elsewhere."""
        if index == 0:
            return clean
        return self._push(clean, MelConsistency(self.front_end), self.settings.step_iterations)

    def finish(self, white: Tensor) -> list[Tensor]:
        """From the domain of the diffusion ``[B, N]`` to the waveforms ``[b, N]`` of each group, pushed if so set."""
        wavs = self._waveforms(white)
        if not self.settings.consistency_iterations:
            return wavs
        return [self._finish(wav, mel) for wav, (mel, _) in zip(wavs, self.targets, strict=True)]

    def _finish(self, wav: Tensor, mel: Tensor) -> Tensor:
        wav = MelConsistency(self.front_end)(wav, mel, self.settings.consistency_iterations, self.hold)
        if self.refiner is None or not self.settings.refinements:
            return wav
        return refine(self.refiner, self.settings, wav, mel, self.hold)

    def _waveforms(self, white: Tensor) -> list[Tensor]:
        """Of each group, without what lies beyond its end and with the past in its place."""
        wavs, row = [], 0
        for index, (mel, domain) in enumerate(self.targets):
            wav = domain.waveform(white[row : row + len(mel)])
            wavs.append(wav if self.hold is None else held(wav, self.pasts[index], self.hold))
            row += len(mel)
        return wavs

    def _push(self, white: Tensor, consistency: MelConsistency, iterations: int) -> Tensor:
        """Through the waveform and back."""
        if iterations == 0 and self.hold is None:
            return white
        pushed = [
            domain.white(consistency(wav, mel, iterations, self.hold))
            for wav, (mel, domain) in zip(self._waveforms(white), self.targets, strict=True)
        ]
        return self._beside(white, pushed)

    @staticmethod
    def _beside(white: Tensor, groups: Sequence[Tensor]) -> Tensor:
        """All groups ``[b, n]`` in one batch ``[B, N]``; what lies beyond the end of a short example stays as it is."""
        rows, row = [], 0
        for group in groups:
            rows.append(torch.cat([group, white[row : row + len(group), group.shape[1] :]], dim=1))
            row += len(group)
        return torch.cat(rows)
