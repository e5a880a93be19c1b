"""CosyVoice and Chatterbox: in the place of ``HiFTGenerator``."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from diffwave.adapters.adapter import Adapter


class CosyVoiceVocoder(Adapter):
    """The ``hift`` of CosyVoice and the ``mel2wav`` of Chatterbox.

    For arguments see :class:`~diffwave.adapters.adapter.Adapter`.
    """

    usual_convention = "cosyvoice2-24k"

    def inference(
        self,
        speech_feat: Tensor,
        cache_source: Tensor | None = None,  # noqa: ARG002  # for who calls with it
        finalize: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Synthesize mels.

        Args:
            speech_feat: shape ``[B, M, F]``.
            cache_source: the excitation of the frames that come again (CosyVoice 1 and 2, which fade from one waveform
                of theirs to the other); there is none, and their phases may differ.
            finalize: false if the mel, of one utterance, will come again with more frames (CosyVoice 3); then only what
                these leave as it is.

        Returns:
            Waveforms ``[B, N]``, and zeros ``[B, 1, N]`` in the place of their excitation.
        """
        wavs = self.waveforms(speech_feat)[0] if finalize else self._settled(speech_feat)
        return wavs, torch.zeros_like(wavs).unsqueeze(1)

    def _settled(self, mel: Tensor) -> Tensor:
        """What a mel ``[1, M, F]`` that is yet to be continued sounds like, as far as that is known, ``[1, N]``."""

        def begun() -> Iterator[Tensor]:
            yield mel
            raise _MoreToComeError

        pieces = [torch.zeros(0, device=self.device)]
        try:
            for piece in self.stream(begun()):
                pieces.append(piece)
        except _MoreToComeError:
            pass
        return torch.cat(pieces).unsqueeze(0)


class _MoreToComeError(Exception):
    """All that was there has been looked at, and it is not the end."""
