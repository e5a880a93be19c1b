"""Mel to waveform without any network: the floor under every vocoder's scores."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffwave.dsp.noise import white_noise
from diffwave.mel.consistency import MOMENTUM_FROM_NOISE, MelConsistency
from diffwave.mel.spectrogram import MelSpectrogram

GRIFFIN_LIM, MEL_CONSISTENCY, COPY = SYSTEMS = ("griffin-lim", "mel-consistency", "copy")
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
    consistency = MelConsistency(front_end, MOMENTUM_FROM_NOISE)
    wav: Tensor = consistency(start.to(mel.device).unsqueeze(0), mel.unsqueeze(0), iterations)[0]
    return wav


def copy_synthesis(
    front_end: MelSpectrogram, wav: np.ndarray, sample_rate: int, system: str, iterations: int
) -> np.ndarray:
    """A recording through its mel and back, without any network.

    Args:
        front_end: the convention of the mel.
        wav: samples, shape ``[N]``.
        sample_rate: of ``wav``; the mel is taken at the convention's own rate.
        system: one of ``SYSTEMS``; ``copy`` leaves the recording as it is.
        iterations: of the system.

    Returns:
        Samples at ``sample_rate``, shape ``[N]``.
    """
    from diffwave.audio.file import resample

    if system == COPY:
        return wav
    rate, hop = front_end.config.sample_rate, front_end.config.hop_length
    narrow = wav if sample_rate == rate else resample(wav, sample_rate, rate)
    padded = torch.from_numpy(np.pad(narrow, (0, -len(narrow) % hop)))
    mel = front_end(padded.unsqueeze(0))[0]
    function = griffin_lim if system == GRIFFIN_LIM else mel_consistency
    result = function(front_end, mel, iterations).numpy()[: len(narrow)]
    if sample_rate != rate:
        result = resample(result, rate, sample_rate)
    return np.pad(result, (0, max(0, len(wav) - len(result))))[: len(wav)]
