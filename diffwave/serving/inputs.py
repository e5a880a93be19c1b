"""From the body of a request to a mel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffwave.audio.checks import AudioError, AudioLimits, AudioTooLargeError
from diffwave.audio.file import decode_audio
from diffwave.mel.mel_file import received, resemblance
from diffwave.serving.limits import Limits, RefusedError
from diffwave.serving.received_mels import NPY_MAGIC, mel_from_json, mel_from_npy
from diffwave.vocoder import Vocoder

AUDIO, MEL, JSON = "audio", "mel", "json"
_MAGIC = {b"RIFF": AUDIO, b"RIFX": AUDIO, b"FORM": AUDIO, b"fLaC": AUDIO, b"OggS": AUDIO, b"ID3": AUDIO, NPY_MAGIC: MEL}
_EXPECTED = 'WAV, FLAC, Ogg, MP3 or AIFF audio, a mel as .npy, or JSON {"mel": [[...]]}'
# What people try, and why it does not work.
_KNOWN = {
    b"PK": "a zip archive (.npz or .pt); save the mel with numpy.save",
    b"\x80": "a pickle, which is never loaded; save the mel with numpy.save",
    b"\x1f\x8b": "gzip; send the file itself",
    b"--": "a form; send the file itself as the body (curl --data-binary @FILE)",
}


@dataclass(frozen=True, eq=False)
class Input:
    """What is to be spoken.

    Args:
        mel: in the vocoder's convention, ``[M, F]``.
        samples: length of the output.
        resembles: what to say of a mel that looks like one of another convention.
    """

    mel: Tensor
    samples: int
    resembles: str = ""


def kind_of(data: bytes, wanted: str = "auto") -> str:
    """What a body is, by its first bytes.

    Args:
        data: the body, or its beginning.
        wanted: ``audio`` or ``mel`` if the client has said so, else ``auto``.

    Returns:
        ``audio``, ``mel`` (``.npy``) or ``json``.

    Raises:
        RefusedError: if it is none of them, or not what was said.
    """
    if not data:
        raise RefusedError(422, f"expected {_EXPECTED} as the body; it is empty")
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "")
    if not kind and data[0] == 0xFF and data[1:2] >= b"\xe0":
        kind = AUDIO  # MP3 without a tag begins with eleven ones
    if not kind and data.lstrip()[:1] == b"{":
        kind = JSON
    if not kind:
        got = next((text for magic, text in _KNOWN.items() if data.startswith(magic)), "something else")
        raise RefusedError(415, f"expected {_EXPECTED}; got {got}")
    if wanted != "auto" and (kind == AUDIO) != (wanted == AUDIO):
        raise RefusedError(422, f"input={wanted}: expected {wanted} as the body; it looks like {kind}")
    return kind


def read_input(vocoder: Vocoder, data: bytes, wanted: str, limits: Limits, longest: float) -> Input:
    """Decode a body and make sure of its mel.

    Args:
        vocoder: whose convention counts.
        data: the whole body.
        wanted: see :func:`kind_of`.
        limits: of the service.
        longest: seconds that the audio may last.

    Raises:
        RefusedError: if it cannot be used.
    """
    kind = kind_of(data, wanted)
    if kind == AUDIO:
        return _from_audio(vocoder, data, longest)
    if kind == JSON and len(data) > limits.json_bytes:
        raise RefusedError(413, f"expected at most {limits.json_bytes} bytes of JSON; send longer mels as .npy")
    mel = mel_from_json(data) if kind == JSON else mel_from_npy(data)
    try:
        mel = received(mel, vocoder.convention, vocoder.front_end)
    except ValueError as error:
        raise RefusedError(422, str(error)) from None
    check_seconds(vocoder, mel.shape[-1], longest)
    return Input(mel, mel.shape[-1] * vocoder.hop_length, resemblance(mel, vocoder.convention))


def check_seconds(vocoder: Vocoder, frames: int, longest: float) -> None:
    """Refuse a mel of more frames than there may be; raises RefusedError (413)."""
    seconds = frames * vocoder.hop_length / vocoder.sample_rate
    # A recording of just the longest duration has a last frame that is not full.
    if frames > math.ceil(longest * vocoder.sample_rate / vocoder.hop_length):
        raise RefusedError(413, f"expected at most {longest:g} s of audio; got a mel of {seconds:.1f} s")


def _from_audio(vocoder: Vocoder, data: bytes, longest: float) -> Input:
    try:
        wav = decode_audio(data, AudioLimits(longest), vocoder.sample_rate).wav
    except AudioTooLargeError as error:
        raise RefusedError(413, str(error)) from None
    except AudioError as error:
        raise RefusedError(422, str(error)) from None
    shortest = vocoder.front_end.config.win_length
    if len(wav) < shortest:
        expected = f"expected at least one frame, {shortest} samples at {vocoder.sample_rate} Hz"
        raise RefusedError(422, f"audio: {expected}; got {len(wav)}")
    peak = float(wav.abs().max())
    with torch.inference_mode():
        mel = vocoder.mel(wav)
    try:
        vocoder.front_end.check_range(mel.unsqueeze(0))
    except ValueError as error:
        # Such as 16-bit numbers stored as floats; a list of mel values would not help.
        said = f"audio: expected samples in [-1, 1]; got a peak of {peak:.3g}" if peak > 1 else str(error)
        raise RefusedError(422, said) from None
    return Input(mel, len(wav))
