"""A first try of the package: the bundled utterance, spoken and scored."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from diffwave.assets import bundled_utterance
from diffwave.audio.file import read_audio, write_wav
from diffwave.errors import InputError, reason
from diffwave.evaluation.perceptual import pesq_wb, stoi
from diffwave.vocoder import Vocoder


@dataclass(frozen=True)
class Demonstration:
    """What came of it.

    Args:
        reference, output: the files.
        audio_seconds, wall_seconds: length of the utterance, and what its synthesis took.
        device: where the network ran.
        pesq_wb, stoi: scores of the output.
    """

    reference: Path
    output: Path
    audio_seconds: float
    wall_seconds: float
    device: str
    pesq_wb: float
    stoi: float


def demonstrate(folder: Path, device: str) -> Demonstration:
    """Speak the bundled utterance with the default checkpoint, and write ``folder/utterance.wav``.

    Raises:
        InputError: if the folder cannot be written.
        DeviceError: if the machine does not have the device.
    """
    vocoder = Vocoder.from_pretrained("default", device)
    audio = read_audio(bundled_utterance(), vocoder.sample_rate)
    mel = vocoder.mel(audio.wav)
    vocoder.synthesize(mel[:, :32])  # the first call pays for set-up that has nothing to do with the length
    begun = time.perf_counter()
    wav = vocoder.synthesize(mel)[: len(audio.wav)].cpu()
    elapsed = time.perf_counter() - begun
    path = folder / "utterance.wav"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_wav(path, wav, vocoder.sample_rate)
    except OSError as error:
        raise InputError(f"--output {folder}: expected a folder that can be written; {reason(error)}") from None
    scores = [score(audio.wav.numpy(), wav.numpy()) for score in (pesq_wb, stoi)]
    return Demonstration(bundled_utterance(), path.resolve(), audio.seconds, elapsed, str(vocoder.device), *scores)
