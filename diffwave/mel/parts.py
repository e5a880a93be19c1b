"""Mels of waveforms of any length, part by part.

Frames are computed in stretches that begin at fixed places, whatever the waveform arrives in, so that a mel is the same
bit by bit whether its recording is there from the start or is read block by block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwave.dsp.blocks import Layout, windows
from diffwave.mel.spectrogram import MelSpectrogram

_STRETCH = 1024  # frames, 16 s at 16 kHz


def mel_parts(front_end: MelSpectrogram, wavs: Iterable[Tensor]) -> Iterator[Tensor]:
    """The log-mel of a waveform that comes in parts.

    Args:
        front_end: the convention.
        wavs: parts ``[B, n_i]``, in order; zeros are added to the last up to a whole number of frames.

    Yields:
        Parts of the mel ``[B, M, F_i]``, together ``F = ceil(N / hop_length)`` frames.
    """
    hop, reach = front_end.config.hop_length, -(-front_end.config.n_fft // front_end.config.hop_length)
    layout = Layout((_STRETCH,), reach, reach)
    for block, window in windows(layout, _whole_frames(wavs, hop), hop):
        with torch.inference_mode():
            mel = front_end(window)
        yield mel[..., block.begin - block.start : block.end - block.start]


def _whole_frames(wavs: Iterable[Tensor], hop: int) -> Iterator[Tensor]:
    """The same in parts of whole frames, zeros at the end."""
    rest: Tensor | None = None
    for wav in wavs:
        joined = wav if rest is None else torch.cat([rest, wav], dim=-1)
        whole = joined.shape[-1] // hop * hop
        if whole:
            yield joined[..., :whole]
        rest = joined[..., whole:]
    if rest is not None and rest.shape[-1]:
        yield F.pad(rest, (0, -rest.shape[-1] % hop))
