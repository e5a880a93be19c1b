"""Mel spectrograms: of a waveform, and what a mel alone tells of the waveform."""

from diffwave.mel.consistency import MelConsistency
from diffwave.mel.prior import make_prior
from diffwave.mel.spectrogram import MelSpectrogram, MelValueError, MelWarning, mel_filterbank

__all__ = [
    "MelConsistency",
    "MelSpectrogram",
    "MelValueError",
    "MelWarning",
    "make_prior",
    "mel_filterbank",
]
