"""Padded batches of mels, as TTS code has them: each example spoken as if it were alone."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class SpeaksMels(Protocol):
    """Who speaks mels of a vocoder's own convention: an adapter, or a vocoder."""

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""

    def synthesize(self, mel: Tensor) -> Tensor:
        """Mel ``[M, F]`` or ``[B, M, F]`` to waveform ``[N]`` or ``[B, N]``."""

    def synthesize_batch(self, mels: list[Tensor]) -> list[Tensor]:
        """Mels ``[M, F_i]`` to waveforms ``[F_i * hop_length]``."""


def speak(speaker: SpeaksMels, mels: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
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
