"""Vocos: in the place of ``vocos.Vocos``, and of what F5-TTS and others call by its ``decode``."""

from __future__ import annotations

from torch import Tensor

from diffwave.adapters.adapter import Adapter


class VocosVocoder(Adapter):
    """``decode``; for arguments see :class:`~diffwave.adapters.adapter.Adapter`."""

    usual_convention = "vocos-24k"

    def decode(self, features_input: Tensor) -> Tensor:
        """Mels ``[B, M, F]`` to waveforms ``[B, N]``."""
        return self.waveforms(features_input)[0]
