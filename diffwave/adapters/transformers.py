"""transformers: in the place of ``SpeechT5HifiGan``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwave.adapters.adapter import Adapter
from diffwave.config import MelConfig, MelConvention


class TransformersVocoder(Adapter):
    """The ``vocoder`` of ``SpeechT5ForTextToSpeech.generate_speech`` and of the ``text-to-audio`` pipeline.

    ``SpeechT5HifiGan`` standardises the mels it gets before its network sees them (``normalize_before``); what it gets
    is log10 as the feature extractor makes it, and that is what comes here.

    For arguments see :class:`~diffwave.adapters.adapter.Adapter`.
    """

    usual_convention = "speecht5-16k"

    @property
    def config(self) -> SimpleNamespace:
        """What the pipeline looks at: ``sampling_rate``; and the number of bands, ``model_in_dim``."""
        return SimpleNamespace(sampling_rate=self.sample_rate, model_in_dim=self.convention.mel.n_mels)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Synthesize one mel or a batch.

        Args:
            spectrogram: mels, shape ``[F, M]`` or ``[B, F, M]``. Frames of zeros at the end of a batch are padding
                (``generate_speech`` pads so), and silent.

        Returns:
            Waveform ``[N]`` or ``[B, N]``.
        """
        if not isinstance(spectrogram, Tensor) or spectrogram.ndim != 3:
            return self.waveform(spectrogram)
        wavs = self.waveforms(spectrogram, _lengths(spectrogram))[0]
        # generate_speech reckons with F * hop_length samples, also if the longest ends with zeros.
        return F.pad(wavs, (0, spectrogram.shape[1] * self.hop_length - wavs.shape[1]))


def speecht5_convention(extractor: Any) -> MelConvention:
    """The convention of a ``SpeechT5FeatureExtractor``, for one with other settings than the usual."""
    mel = MelConfig(
        sample_rate=extractor.sampling_rate,
        n_fft=extractor.n_fft,
        win_length=extractor.sample_size,
        hop_length=extractor.sample_stride,
        n_mels=extractor.num_mel_bins,
        f_min=float(extractor.fmin),
        f_max=float(extractor.fmax),
        framing="centre",
        log="log10",
        floor=extractor.mel_floor,
    )
    return MelConvention(mel, axes="frames-first", name="SpeechT5")


def _lengths(spectrogram: Tensor) -> Tensor:
    """Frames of each example before the zeros at its end; all of them if it is nothing but zeros."""
    frames = spectrogram.shape[1]
    sounds = (spectrogram != 0).any(dim=2)  # [B, F]
    position = torch.arange(1, frames + 1, device=spectrogram.device)
    last = torch.where(sounds, position, 0).amax(dim=1)
    return torch.where(last == 0, frames, last)
