"""torchaudio: the vocoder of a ``Tacotron2TTSBundle``."""

from __future__ import annotations

from torch import Tensor
from torchaudio.pipelines import Tacotron2TTSBundle

from diffwave.adapters.adapter import Adapter


class TorchaudioVocoder(Adapter, Tacotron2TTSBundle.Vocoder):  # type: ignore[misc]  # torchaudio has no types
    """Stands where ``bundle.get_vocoder()`` does; for arguments see :class:`~diffwave.adapters.adapter.Adapter`."""

    usual_convention = "tacotron2-22k"

    def forward(self, specgrams: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Synthesize a batch.

        Args:
            specgrams: mels, shape ``[B, M, F]``.
            lengths: valid frames of each, shape ``[B]``; all if not given.

        Returns:
            Waveforms ``[B, N]``, and how many samples of each are valid, ``[B]`` (None without ``lengths``).
        """
        return self.waveforms(specgrams, lengths)
