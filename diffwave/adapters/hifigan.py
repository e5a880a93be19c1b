"""HiFi-GAN's generator, and what is called like it (BigVGAN, UnivNet, Matcha-TTS)."""

from __future__ import annotations

from torch import Tensor

from diffwave.adapters.adapter import Adapter


class HifiGanVocoder(Adapter):
    """``generator(mel)``; for arguments see :class:`~diffwave.adapters.adapter.Adapter`."""

    usual_convention = "hifigan-22k"

    def forward(self, x: Tensor) -> Tensor:
        """Mels ``[B, M, F]`` to waveforms ``[B, 1, N]``."""
        return self.waveforms(x)[0].unsqueeze(1)

    def remove_weight_norm(self) -> None:
        """Do nothing: there is none."""
