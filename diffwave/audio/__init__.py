"""Audio files: read and checked, whole or block by block, and written."""

from diffwave.audio.checks import AudioError, AudioLimits, AudioTooLargeError
from diffwave.audio.file import (
    AUDIO_SUFFIXES,
    Audio,
    decode_audio,
    encode_audio,
    read_audio,
    read_samples,
    resample,
    write_wav,
)

__all__ = [
    "AUDIO_SUFFIXES",
    "Audio",
    "AudioError",
    "AudioLimits",
    "AudioTooLargeError",
    "decode_audio",
    "encode_audio",
    "read_audio",
    "read_samples",
    "resample",
    "write_wav",
]
