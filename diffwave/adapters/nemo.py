"""NeMo: in the place of ``HifiGanModel`` and other ``Vocoder`` models."""

from __future__ import annotations

from torch import Tensor

from diffwave.adapters.adapter import Adapter


class NemoVocoder(Adapter):
    """``convert_spectrogram_to_audio``; for arguments see :class:`~diffwave.adapters.adapter.Adapter`.

    FastPitch frames its mels like librosa, with the frame's centre at ``i * hop``, and NeMo's HiFi-GAN its own like
    HiFi-GAN: the convention must be that of the acoustic model.
    """

    usual_convention = "nemo-22k"

    def convert_spectrogram_to_audio(self, spec: Tensor) -> Tensor:
        """Mels ``[B, M, F]`` to waveforms ``[B, N]``."""
        return self.waveforms(spec)[0]

    def forward(self, *, spec: Tensor) -> Tensor:
        """Mels ``[B, M, F]`` to waveforms ``[B, 1, N]``, as the model's ``forward`` does."""
        return self.convert_spectrogram_to_audio(spec).unsqueeze(1)
