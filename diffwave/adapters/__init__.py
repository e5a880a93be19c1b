"""Other TTS frameworks speak through the vocoder: one short file for each.

An adapter takes the mels that a framework's acoustic model makes and stands where the framework has its vocoder. Mels
whose values cannot be of the stated convention are refused when they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffwave.adapters.adapter import Adapter
from diffwave.adapters.coqui import CoquiVocoder, coqui_convention
from diffwave.adapters.cosyvoice import CosyVoiceVocoder
from diffwave.adapters.espnet import EspnetVocoder, espnet_convention
from diffwave.adapters.hifigan import HifiGanVocoder
from diffwave.adapters.nemo import NemoVocoder
from diffwave.adapters.speechbrain import SpeechBrainVocoder
from diffwave.adapters.statistics_file import read_statistics
from diffwave.adapters.transformers import TransformersVocoder, speecht5_convention
from diffwave.adapters.vocos import VocosVocoder
from diffwave.config import CONVENTIONS, MelConvention, mel_convention
from diffwave.mel.spectrogram import MelValueError

if TYPE_CHECKING:
    from diffwave.adapters.torchaudio import TorchaudioVocoder

__all__ = [
    "CONVENTIONS",
    "Adapter",
    "CoquiVocoder",
    "CosyVoiceVocoder",
    "EspnetVocoder",
    "HifiGanVocoder",
    "MelConvention",
    "MelValueError",
    "NemoVocoder",
    "SpeechBrainVocoder",
    "TorchaudioVocoder",
    "TransformersVocoder",
    "VocosVocoder",
    "coqui_convention",
    "espnet_convention",
    "mel_convention",
    "read_statistics",
    "speecht5_convention",
]


def __getattr__(name: str) -> Any:
    if name == "TorchaudioVocoder":  # the only one that needs its framework, which does not load with every PyTorch
        from diffwave.adapters.torchaudio import TorchaudioVocoder

        return TorchaudioVocoder
    raise AttributeError(f"module 'diffwave.adapters' has no attribute {name!r}")
