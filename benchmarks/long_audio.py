"""Long audio: memory and time for up to an hour.

    OMP_NUM_THREADS=1 python -m benchmarks.long_audio [--minutes 1 10 60] [--base-minutes 1 5]

Every length is a process of its own, ``diffwave synthesize``, once with ``--chunk-seconds`` and once without, on a
recording that repeats the bundled utterance. Memory is the most that the process held; beside it, what one held that
made two seconds of audio: the model's own, and PyTorch's. Writes ``docs/benchmarks/long-audio.{md,json}``; half
an hour with the default lengths.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import soundfile
import torch

from benchmarks.report import DOCUMENTS, UTTERANCE, measured, stamp, table, write
from benchmarks.watched import run_watched
from diffwave.audio.file import read_audio
from diffwave.checkpoint.folder import Checkpoint, checkpoint_folder, save_checkpoint
from diffwave.config import BASE
from diffwave.network.diffwave import DiffWave
from diffwave.vocoder import Vocoder

CHUNK_SECONDS = 10.0
LIMIT_GIB = 1.5
_SHORT_SECONDS = 2.0
_MIB = 2**20


def recording(path: Path, seconds: float, rate: int) -> None:
    """Write the bundled utterance over and over."""
    wav = read_audio(UTTERANCE, rate).wav.numpy()
    samples = round(seconds * rate)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        while samples > 0:
            file.write(wav[:samples])
            samples -= len(wav)


def measure_length(folder: Path, checkpoint: Path, rate: int, minutes: float, choices: list[str]) -> dict[str, Any]:
    """Memory in bytes and time in seconds of a process that synthesizes so much audio."""
    figures = []
    for seconds in (_SHORT_SECONDS, 60 * minutes):
        recording(folder / "speech.wav", seconds, rate)
        where = ["--checkpoint", checkpoint, "--device", "cpu", "--output", folder / "output", "--force"]
        figures.append(run_watched("synthesize", folder / "speech.wav", *where, *choices))
    short, long = figures
    audio = 60 * minutes - _SHORT_SECONDS
    return {
        "minutes": minutes,
        "own": short["own"],
        "grown": max(0, long["own"] - short["own"]),
        "seconds": long["seconds"],
        "rtf": (long["seconds"] - short["seconds"]) / audio,
    }


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


def random_base() -> Checkpoint:
    """The paper's network with random weights, whose output is none of speech but takes the same time and memory."""
    torch.manual_seed(0)
    network = DiffWave(BASE)
    torch.nn.init.normal_(network.output_projection.weight, std=0.05)
    return Checkpoint(BASE, network.state_dict())


def page(results: dict[str, Any]) -> str:
    """The page in Markdown."""
    own = [row["own"] / _MIB for row in results["lengths"]]
    an_hour = any(row["minutes"] >= 60 for row in results["lengths"])
    goal = f"An hour is to take less than {LIMIT_GIB:g} GiB more. " if an_hour else ""
    lengths = [
        (
            row["model"],
            "yes" if row["chunked"] else "no",
            f"{row['minutes']:g}",
            f"{(row['own'] + row['grown']) / _MIB:.0f}",
            f"{row['rtf']:.3f}",
        )
        for row in results["lengths"]
    ]
    return "\n".join(
        [
            "# Long audio",
            "",
            "Every figure is in [long-audio.json](long-audio.json).",
            "",
            *table(["model", "in chunks", "audio, min", "memory, MiB", "real-time factor"], lengths, 2),
            "",
            f"`diffwave synthesize` of one recording, with `--chunk-seconds {CHUNK_SECONDS:g}` and without; each row "
            "is one process. Memory is the most that the process held (resident); processes that made two seconds of "
            f"audio held {min(own):.0f} to {max(own):.0f} MiB. {goal}"
            "BASE is the paper's network with random weights and one call instead of six: the same memory, less "
            "waiting.",
            "",
            f"{measured(results)} The load average before was {results['load']:.1f}.",
            "",
        ]
    )


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60])
    parser.add_argument("--base-minutes", type=float, nargs="+", default=[1, 5])
    parser.add_argument("--longest-whole", type=float, default=10, help="minutes, for what is read at once")
    parser.add_argument("--output", type=Path, default=DOCUMENTS)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        save_checkpoint(base, random_base())
        lengths = measure_lengths("default", checkpoint_folder("default"), options.minutes, [], options.longest_whole)
        lengths += measure_lengths("BASE", base, options.base_minutes, ["--steps", "1"], options.longest_whole)
    results = stamp("python -m benchmarks.long_audio") | {"load": load, "threads": torch.get_num_threads()}
    results["lengths"] = lengths
    write("long-audio", results, page(results), options.output)


if __name__ == "__main__":
    main()
