"""SpeechBrain: in the place of ``speechbrain.inference.vocoders.HIFIGAN``."""

from __future__ import annotations

from torch import Tensor

from diffwave.adapters.adapter import Adapter
from diffwave.adapters.padded import check_hop


class SpeechBrainVocoder(Adapter):
    """``decode_batch`` and ``decode_spectrogram``; for arguments see :class:`~diffwave.adapters.adapter.Adapter`."""

    usual_convention = "speechbrain-22k"

    def decode_batch(self, spectrogram: Tensor, mel_lens: Tensor | None = None, hop_len: int | None = None) -> Tensor:
        """Synthesize a batch.

        Args:
            spectrogram: mels, shape ``[B, M, F]``.
            mel_lens: valid frames of each, shape ``[B]``, as ``Tacotron2.encode_batch`` gives them; all if not given.
            hop_len: the caller's samples per frame, for comparison.

        Returns:
            Waveforms ``[B, 1, N]``, zero after their end.

        Raises:
            ValueError: also if ``hop_len`` is not the vocoder's.
        """
        check_hop(self.hop_length, hop_len)
        return self.waveforms(spectrogram, mel_lens)[0].unsqueeze(1)

    def decode_spectrogram(self, spectrogram: Tensor) -> Tensor:
        """One mel ``[M, F]`` to a waveform ``[1, N]``."""
        return self.waveform(spectrogram).unsqueeze(0)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """``decode_batch`` of whole mels."""
        return self.decode_batch(spectrogram)
