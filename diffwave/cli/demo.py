"""``diffwave demo``: speak the bundled utterance with the default checkpoint and score it."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import diffwave
from diffwave.errors import InputError, reason
from diffwave.terminal.arguments import CommandParser, device_argument, path_argument


def bundled_utterance() -> Path:
    """The recording inside the package (LibriSpeech, CC BY 4.0; see ``assets/README.md``)."""
    return Path(diffwave.__file__).parent / "assets" / "utterance.flac"


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave demo", description=__doc__)
    folder = "folder for utterance.wav, which is replaced (default: outputs/demo)"
    result.add_argument("--output", "-o", type=path_argument, default=Path("outputs/demo"), metavar="DIR", help=folder)
    result.add_argument("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="default: auto")
    return result


def main(arguments: list[str]) -> int:
    """Synthesize, write, and print where the file lies, its real-time factor and its PESQ."""
    options = parser().parse_args(arguments)

    from diffwave.audio.file import read_audio, write_wav
    from diffwave.evaluation.perceptual import pesq_wb, stoi
    from diffwave.vocoder import Vocoder

    vocoder = Vocoder.from_pretrained("default", options.device)
    audio = read_audio(bundled_utterance(), vocoder.sample_rate)
    mel = vocoder.mel(audio.wav)
    vocoder.synthesize(mel[:, :32])  # the first call pays for set-up that has nothing to do with the length
    begun = time.perf_counter()
    wav = vocoder.synthesize(mel)[: len(audio.wav)].cpu()
    elapsed = time.perf_counter() - begun
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        path = options.output / "utterance.wav"
        write_wav(path, wav, vocoder.sample_rate)
    except OSError as error:
        raise InputError(f"--output {options.output}: expected a folder that can be written; {reason(error)}") from None
    reference, estimate = audio.wav.numpy(), wav.numpy()
    print(f"reference        {bundled_utterance()}")
    print(f"output           {path.resolve()}")
    print(f"audio            {audio.seconds:.2f} s in {elapsed:.2f} s on {vocoder.device}")
    print(f"real-time factor {elapsed / audio.seconds:.3f}")
    print(f"PESQ-WB          {pesq_wb(reference, estimate):.2f}")
    print(f"STOI             {stoi(reference, estimate):.3f}")
    return 0
