"""Long audio and streams: memory and time for up to an hour, and whether parts make the whole.

    OMP_NUM_THREADS=1 python benchmarks/long_audio.py [--minutes 1 10 60] [--base-minutes 1 5]

Every length is a process of its own, ``diffwave synthesize``, once with ``--chunk-seconds`` and once without, on a
recording that repeats the bundled utterance. Memory is the most that the process held, less what it held after two
seconds of audio: the model's own, and PyTorch's. Writes ``docs/benchmarks/long-audio.{md,json}`` and
``docs/images/long-audio.png``; half an hour with the default lengths.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from diffwave.checkpoint.folder import Checkpoint, checkpoint_folder, save_checkpoint
from diffwave.config import BASE
from diffwave.files import write_text
from diffwave.network.diffwave import DiffWave
from diffwave.vocoder import Vocoder
from long_audio_page import page, picture
from machine import environment

ROOT = Path(__file__).resolve().parent.parent
UTTERANCE = ROOT / "diffwave" / "assets" / "utterance.flac"
CHUNK_SECONDS = 10.0
PART_SECONDS = (0.1, 0.5, 1.0, 3.0, 10.0)
_STREAMED_SECONDS = 12.0

_PROCESS = """
import json, resource, sys, time
from diffwave.cli.main import main
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
short, long, output, *choices = sys.argv[1:]
choices += ["--device", "cpu", "--output", output, "--force"]
assert main(["synthesize", short, *choices]) == 0
before, begun = peak(), time.perf_counter()
assert main(["synthesize", long, *choices]) == 0
print(json.dumps({"own": before, "grown": peak() - before, "seconds": time.perf_counter() - begun}))
"""


def recording(path: Path, seconds: float, rate: int) -> None:
    """Write the bundled utterance over and over."""
    wav, source = soundfile.read(UTTERANCE, dtype="float32")
    if source != rate:
        import soxr

        wav = soxr.resample(wav, source, rate)
    samples = round(seconds * rate)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        while samples > 0:
            file.write(wav[:samples])
            samples -= len(wav)


def measure_length(folder: Path, checkpoint: Path, rate: int, minutes: float, choices: list[str]) -> dict[str, Any]:
    """Memory in bytes and time in seconds of a process that synthesizes so much audio."""
    short, long = folder / "short.wav", folder / "long.wav"
    recording(short, 2.0, rate)
    recording(long, 60 * minutes, rate)
    command = [sys.executable, "-c", _PROCESS, short, long, folder / "output", "--checkpoint", checkpoint, *choices]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"minutes": minutes, "rtf": figures["seconds"] / (60 * minutes), **figures}


def measure_lengths(
    name: str, checkpoint: Path, minutes: list[float], choices: list[str], longest: float
) -> list[dict[str, Any]]:
    """The same for every length, in chunks and, up to ``longest`` minutes, at once."""
    rate = Vocoder.from_pretrained(checkpoint, "cpu").sample_rate
    rows = []
    for length in minutes:
        for chunked in (True, False) if length <= longest else (True,):
            more = ["--chunk-seconds", str(CHUNK_SECONDS)] if chunked else []
            with tempfile.TemporaryDirectory() as folder:
                row = measure_length(Path(folder), checkpoint, rate, length, [*choices, *more])
            rows.append({"model": name, "chunked": chunked, "choices": choices, **row})
            print(
                f"{name}, {length:g} min, {'chunks' if chunked else 'whole'}: {row['grown'] / 2**20:.0f} MiB, "
                f"real-time factor {row['rtf']:.3f}",
                file=sys.stderr,
            )
    return rows


def measure_parts(
    name: str, vocoder: Vocoder, sizes: tuple[float, ...] = PART_SECONDS, seconds: float = _STREAMED_SECONDS
) -> list[dict[str, Any]]:
    """Streams whose mel comes in parts of different sizes beside the whole: differences, and the first audio."""
    wav, _ = soundfile.read(UTTERANCE, dtype="float32")
    samples = round(seconds * vocoder.sample_rate)
    repeated = np.tile(wav, -(-samples // len(wav)))[:samples]
    mel = vocoder.mel(torch.from_numpy(repeated))
    whole = vocoder.synthesize(mel)
    rows = []
    for part in sizes:
        frames = max(1, round(part * vocoder.sample_rate / vocoder.hop_length))
        arrived, pieces, first = 0, [], {}
        begun = time.perf_counter()

        def arriving(size: int = frames) -> Any:
            nonlocal arrived
            for piece in torch.split(mel, size, dim=1):
                arrived += piece.shape[1]
                yield piece

        for piece in vocoder.stream(arriving()):
            if not pieces:
                first = {"first_seconds": time.perf_counter() - begun, "first_needs": arrived}
            pieces.append(piece)
        second = vocoder.hop_length / vocoder.sample_rate
        rows.append(
            {
                "model": name,
                "precision": vocoder.precision,
                "part_seconds": part,
                "difference": _difference(torch.cat(pieces), whole),
                "first_audio_seconds": first["first_seconds"],
                "first_audio_needs_seconds": first["first_needs"] * second,
                "first_piece_seconds": len(pieces[0]) / vocoder.sample_rate,
            }
        )
    return rows


def _difference(one: Tensor, other: Tensor) -> float:
    """Largest difference beside the largest sample."""
    return float((one - other).abs().max() / other.abs().max())


def random_base() -> Checkpoint:
    """The paper's network with random weights, whose output is none of speech but takes the same time and memory."""
    torch.manual_seed(0)
    network = DiffWave(BASE)
    torch.nn.init.normal_(network.output_projection.weight, std=0.05)
    return Checkpoint(BASE, network.state_dict())


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60])
    parser.add_argument("--base-minutes", type=float, nargs="+", default=[1, 5])
    parser.add_argument("--longest-whole", type=float, default=10, help="minutes, for what is read at once")
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        save_checkpoint(base, random_base())
        lengths = measure_lengths("default", checkpoint_folder("default"), options.minutes, [], options.longest_whole)
        lengths += measure_lengths("BASE", base, options.base_minutes, ["--steps", "1"], options.longest_whole)
    parts = measure_parts("default", Vocoder.from_pretrained(device="cpu"))
    parts += measure_parts("BASE", Vocoder(random_base(), "cpu"))
    parts += measure_parts("BASE", Vocoder(random_base(), "cpu", "reference", "float32"), sizes=(0.1, 10.0))
    threads = torch.get_num_threads()
    figures = {"lengths": lengths, "parts": parts, "load": load, "threads": threads, "machine": environment()}
    (options.output / "benchmarks").mkdir(parents=True, exist_ok=True)
    write_text(options.output / "benchmarks" / "long-audio.json", json.dumps(figures, indent=1) + "\n")
    write_text(options.output / "benchmarks" / "long-audio.md", page(figures, CHUNK_SECONDS))
    picture(figures, options.output / "images" / "long-audio.png")


if __name__ == "__main__":
    main()
