"""Mel to waveform without any network: the floor under every vocoder's scores."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffwave.mel import MelConsistency, MelSpectrogram
from diffwave.noise import white_noise

GRIFFIN_LIM_ITERATIONS = 60
CONSISTENCY_ITERATIONS = 60
# Iterations change magnitudes by at most 2 nat each: begin near the level of speech, not at full scale.
_START_LEVEL = 0.01


def griffin_lim(front_end: MelSpectrogram, mel: Tensor, iterations: int = GRIFFIN_LIM_ITERATIONS) -> Tensor:
    """Librosa's fast Griffin-Lim on the pseudo-inverse of the filterbank.

    Args:
        front_end: the convention of ``mel``.
        mel: log-mel, shape ``[M, F]``.
        iterations: of Griffin-Lim, with librosa's momentum of 0.99.

    Returns:
        Waveform on the CPU, ``[N]`` with ``N = F * hop_length``.
    """
    import librosa

    config = front_end.config
    inverse = torch.linalg.pinv(front_end.filterbank.double())
    magnitude = (inverse @ front_end.expand(mel).double()).clamp_min(0).float().cpu().numpy()
    samples = mel.shape[-1] * config.hop_length
    # librosa 1.0 renamed the argument.
    seed = "random_state" if "random_state" in inspect.signature(librosa.griffinlim).parameters else "rng"
    settings: dict[str, Any] = {
        "hop_length": config.hop_length,
        "win_length": config.win_length,
        "n_fft": config.n_fft,
        seed: 0,
    }
    wav = librosa.griffinlim(magnitude, n_iter=iterations, **settings)
    # librosa's frame i is centred at i hops; ours, with one frame per hop, half a hop later.
    late = config.n_fft // 2 - front_end.geometry.padding[0]
    wav = np.pad(wav, (late, max(0, samples - late - len(wav))))[:samples]
    return torch.from_numpy(wav.astype(np.float32))


def mel_consistency(front_end: MelSpectrogram, mel: Tensor, iterations: int = CONSISTENCY_ITERATIONS) -> Tensor:
    """White noise pushed towards the mel (``MelConsistency``), always from the same noise.

    Args:
        front_end: the convention of ``mel``.
        mel: log-mel, shape ``[M, F]``.
        iterations: of mel consistency.

    Returns:
        Waveform on the device of ``mel``, ``[N]`` with ``N = F * hop_length``.
    """
    start = _START_LEVEL * white_noise(0, 0, mel.shape[-1] * front_end.config.hop_length)
    consistency = MelConsistency(front_end)
    wav: Tensor = consistency(start.to(mel.device).unsqueeze(0), mel.unsqueeze(0), iterations)[0]
    return wav
