"""Anchors: stimuli of known, low quality, made from the reference.

The low-pass anchors of ITU-R BS.1534-3 are linear-phase filters without delay. The 7 kHz filter has the mask of the
3.5 kHz one with all frequencies doubled.

| | 3.5 kHz anchor | 7 kHz anchor |
|---|---|---|
| ripple within 0.1 dB | up to 3.5 kHz | up to 7 kHz |
| at least 25 dB down | from 4 kHz | from 8 kHz |
| at least 50 dB down | from 4.5 kHz | from 9 kHz |
"""

from __future__ import annotations

import numpy as np

from diffwave.audio.file import resample
from diffwave.listening.design import ANCHOR35_NAME, GRIFFIN_LIM_NAME
from diffwave.listening.documents import ListeningError

ANCHOR70_NAME, MNRU_NAME = "anchor70", "mnru"
_PASS_HZ = {ANCHOR35_NAME: 3500.0, ANCHOR70_NAME: 7000.0}
_STOP_RATIO = 8 / 7  # 4 kHz over 3.5 kHz
# 10 dB more than the mask asks for, and from 4 kHz instead of 4.5: costs 3 ms of filter.
_ATTENUATION_DB = 60.0
_MEL_RATE = 16000


def make_anchor(name: str, reference: np.ndarray, rate: int) -> np.ndarray:
    """Make an anchor of the length of ``reference``.

    Args:
        name: ``anchor35``, ``anchor70``, ``griffin-lim`` or ``mnru``.
        reference: float samples ``[N]``.
        rate: in Hz.

    Raises:
        ListeningError: if the sample rate is too low for the filter.
    """
    if name == GRIFFIN_LIM_NAME:
        return griffin_lim_anchor(reference, rate)
    if name == MNRU_NAME:
        return modulated_noise(reference)
    return low_pass(reference, low_pass_filter(name, rate))


def low_pass_filter(name: str, rate: int) -> np.ndarray:
    """Coefficients of a low-pass anchor: a windowed sinc (Kaiser), odd length, symmetric.

    Raises:
        ListeningError: if the stop band does not lie below half of ``rate``.
    """
    from scipy.signal import firwin, kaiserord

    edge = _PASS_HZ[name]
    stop = edge * _STOP_RATIO
    if rate < 2 * stop:
        raise ListeningError(f"{name}: expected a sample rate of at least {2 * stop:.0f} Hz; got {rate} Hz")
    taps, beta = kaiserord(_ATTENUATION_DB, (stop - edge) / (rate / 2))
    filter_: np.ndarray = firwin(taps | 1, (edge + stop) / 2, window=("kaiser", beta), fs=rate)
    return filter_


def low_pass(wav: np.ndarray, filter_: np.ndarray) -> np.ndarray:
    """Filter without delay: an odd, symmetric filter centred on each sample; ``[N]`` stays ``[N]``."""
    from scipy.signal import fftconvolve

    half = len(filter_) // 2
    filtered: np.ndarray = fftconvolve(wav.astype(np.float64), filter_, mode="full")[half : half + len(wav)]
    return filtered


def griffin_lim_anchor(reference: np.ndarray, rate: int) -> np.ndarray:
    """Griffin-Lim from the reference's mel in the default convention (16 kHz), back at ``rate``."""
    import torch

    from diffwave.config import MelConfig
    from diffwave.mel.baseline import griffin_lim
    from diffwave.mel.spectrogram import MelSpectrogram

    config = MelConfig()
    assert config.sample_rate == _MEL_RATE
    wav = reference.astype(np.float32)
    wav = wav if rate == _MEL_RATE else resample(wav, rate, _MEL_RATE)
    front_end = MelSpectrogram(config)
    with torch.inference_mode():
        mel = front_end(torch.from_numpy(np.pad(wav, (0, -len(wav) % config.hop_length)))[None])[0]
        output = griffin_lim(front_end, mel)[: len(wav)].numpy()
    output = output if rate == _MEL_RATE else resample(output, _MEL_RATE, rate)
    return fit_length(output, len(reference))


def modulated_noise(reference: np.ndarray) -> np.ndarray:
    """Add modulated noise as strong as the speech itself (MNRU of ITU-T P.810 at Q = 0 dB): nobody calls it good.

    The noise has two values instead of a normal distribution, so that its peaks do not force the whole utterance to
    be softer than the others of the test. It is always the same noise.
    """
    noise = np.random.default_rng(0).choice([-1.0, 1.0], len(reference))
    noisy: np.ndarray = reference.astype(np.float64) * (1 + noise)
    return noisy


def fit_length(wav: np.ndarray, samples: int) -> np.ndarray:
    """Cut at the end or append zeros."""
    return np.pad(wav[:samples], (0, max(0, samples - len(wav))))
