"""The names under which TTS code calls a vocoder, each with the axes that its project has.

Every one takes mels of the model's own convention; those of other conventions go through :mod:`diffwave.adapters`.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Speaker(Protocol):
    """What the calls need: :class:`~diffwave.vocoder.Vocoder`, or something that wraps one."""

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""

    def synthesize(self, mel: Tensor) -> Tensor:
        """Mel ``[M, F]`` or ``[B, M, F]`` to waveform ``[N]`` or ``[B, N]``."""

    def synthesize_batch(self, mels: list[Tensor]) -> list[Tensor]:
        """Mels ``[M, F_i]`` to waveforms ``[F_i * hop_length]``."""


class TtsCalls:
    """What other projects' vocoders can be asked, of a :class:`Speaker`."""

    def __call__(self: Speaker, specgrams: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Torchaudio: ``Tacotron2TTSBundle.Vocoder``.

        Args:
            specgrams: log-mels, shape ``[B, M, F]``.
            lengths: valid frames of each, shape ``[B]``; all if not given.

        Returns:
            Waveforms ``[B, N]``, zero after their end, and how many samples of each are valid, ``[B]`` (None without
            ``lengths``).

        Raises:
            ValueError: if the mel cannot be of the model's convention, or ``lengths`` do not fit it.
        """
        return speak(self, specgrams, lengths)

    def decode(self: Speaker, features_input: Tensor) -> Tensor:
        """Vocos: log-mels ``[B, M, F]`` to waveforms ``[B, N]``."""
        return speak(self, features_input)[0]

    def inference(self: Speaker, c: Tensor) -> Tensor:
        """ParallelWaveGAN (and ESPnet) or Coqui, by the number of axes.

        Args:
            c: ``[F, M]``, frames first, as ParallelWaveGAN has it; or ``[B, M, F]`` as Coqui has it.

        Returns:
            Waveform ``[N, 1]`` for the former, ``[B, 1, N]`` for the latter.
        """
        if c.ndim == 2:
            return speak(self, c.t().unsqueeze(0))[0].t()
        return speak(self, c)[0].unsqueeze(1)

    def convert_spectrogram_to_audio(self: Speaker, spec: Tensor) -> Tensor:
        """NeMo: log-mels ``[B, M, F]`` to waveforms ``[B, N]``."""
        return speak(self, spec)[0]

    def decode_batch(
        self: Speaker, spectrogram: Tensor, mel_lens: Tensor | None = None, hop_len: int | None = None
    ) -> Tensor:
        """SpeechBrain: ``HIFIGAN.decode_batch``.

        Args:
            spectrogram: log-mels, shape ``[B, M, F]``.
            mel_lens: valid frames of each, shape ``[B]``; all if not given.
            hop_len: the caller's samples per frame, for comparison.

        Returns:
            Waveforms ``[B, 1, N]``, zero after their end.

        Raises:
            ValueError: also if ``hop_len`` is not the model's.
        """
        check_hop(self.hop_length, hop_len)
        return speak(self, spectrogram, mel_lens)[0].unsqueeze(1)

    def decode_spectrogram(self: Speaker, spectrogram: Tensor) -> Tensor:
        """SpeechBrain: one log-mel ``[M, F]`` to a waveform ``[1, N]``."""
        return speak(self, spectrogram.unsqueeze(0))[0]


def speak(speaker: Speaker, mels: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Synthesize a padded batch; each example as if it were alone.

    Args:
        speaker: a vocoder.
        mels: shape ``[B, M, F]``.
        lengths: valid frames of each, shape ``[B]``; all if not given.

    Returns:
        Waveforms ``[B, N]``, zero after their end, and how many samples of each are valid.

    Raises:
        ValueError: if ``mels`` has other axes, or ``lengths`` do not fit it.
    """
    if not isinstance(mels, Tensor) or mels.ndim != 3:
        got = f"shape {list(mels.shape)}" if isinstance(mels, Tensor) else type(mels).__name__
        raise ValueError(f"expected mels [B, M, F], a tensor; got {got}")
    if lengths is None:
        # A copy: what was made in inference mode could not be changed in place by whoever called.
        return speaker.synthesize(mels).clone(), None
    frames = valid_frames(mels.shape[2], len(mels), lengths)
    wavs = speaker.synthesize_batch([mel[:, :count] for mel, count in zip(mels, frames, strict=True)])
    longest = max(frames) * speaker.hop_length
    padded = torch.stack([F.pad(wav, (0, longest - len(wav))) for wav in wavs])
    return padded.clone(), (torch.tensor(frames, device=padded.device) * speaker.hop_length)


def check_hop(own: int, theirs: int | None) -> None:
    """Refuse a caller who counts on another number of samples per frame."""
    if theirs is not None and int(theirs) != own:
        raise ValueError(f"hop_len: expected {own}, the model's samples per frame; got {theirs}")


def valid_frames(longest: int, examples: int, lengths: Tensor) -> list[int]:
    """Frames of each example of a padded batch.

    Raises:
        ValueError: unless there is a whole number in ``1..longest`` for each.
    """
    given = torch.as_tensor(lengths)
    frames = given.tolist() if given.ndim == 1 else []
    if len(frames) != examples or any(not 0 < count <= longest or int(count) != count for count in frames):
        raise ValueError(
            f"lengths: expected {examples} whole numbers in 1..{longest}, of mel frames; got {given.tolist()}"
        )
    return [int(count) for count in frames]
