"""Long audio and streams: memory and time for up to an hour, and whether parts make the whole.

    OMP_NUM_THREADS=1 python -m benchmarks.long_audio [--minutes 1 10 60] [--base-minutes 1 5]

Every length is a process of its own, ``diffwave synthesize``, once with ``--chunk-seconds`` and once without, on a
recording that repeats the bundled utterance. Memory is the most that the process held, less what one held that made two
seconds of audio: the model's own, and PyTorch's. Writes ``docs/benchmarks/long-audio.{md,json}`` and
``docs/images/long-audio.png``; half an hour with the default lengths.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from benchmarks.report import ROOT, UTTERANCE, measured, stamp, table, write
from benchmarks.watched import run_watched
from diffwave.audio.file import read_audio
from diffwave.checkpoint.folder import Checkpoint, checkpoint_folder, save_checkpoint
from diffwave.config import BASE
from diffwave.files import atomic_path
from diffwave.network.diffwave import DiffWave
from diffwave.vocoder import Vocoder

CHUNK_SECONDS = 10.0
PART_SECONDS = (0.1, 0.5, 1.0, 3.0, 10.0)
LIMIT_GIB = 1.5
_SHORT_SECONDS, _STREAMED_SECONDS = 2.0, 12.0
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


def page(results: dict[str, Any]) -> str:
    """The page in Markdown."""
    own = [row["own"] / _MIB for row in results["lengths"]]
    lengths = [
        (
            row["model"],
            "yes" if row["chunked"] else "no",
            f"{row['minutes']:g}",
            f"{row['grown'] / _MIB:.0f}",
            f"{row['rtf']:.3f}",
        )
        for row in results["lengths"]
    ]
    return "\n".join(
        [
            "# Long audio and streams",
            "",
            "Every figure is in [long-audio.json](long-audio.json).",
            "",
            "![memory and time over length](../images/long-audio.png)",
            "",
            "## Memory and time over length",
            "",
            *table(["model", "in chunks", "audio, min", "memory, MiB", "real-time factor"], lengths, 2),
            "",
            f"`diffwave synthesize` of one recording, with `--chunk-seconds {CHUNK_SECONDS:g}` and without; each row "
            "is one process. Memory is the most that the process held (resident), less what one held that made two "
            f"seconds of audio ({min(own):.0f} to {max(own):.0f} MiB). An hour is to take less than {LIMIT_GIB:g} GiB. "
            "BASE is the paper's network with random weights and one call instead of six: the same memory, less "
            "waiting.",
            "",
            "## A mel that arrives in parts",
            "",
            *_parts(results["parts"]),
            "",
            "Twelve seconds, at the checkpoint's settings (six calls). The difference is the largest between the "
            "stream's samples and those of `synthesize` of the whole mel, beside the largest sample; BASE in one piece "
            "does not keep the mel's projections, and rounds in bfloat16 where blocks do not. The first audio leaves "
            "when the first block and its context have arrived, in whole parts; *after* is how long this machine then "
            f"worked, on {results['threads']} thread(s).",
            "",
            f"{measured(results)} The load average before was {results['load']:.1f}.",
            "",
        ]
    )


def _parts(rows: list[dict[str, Any]]) -> list[str]:
    header = ["model", "precision", "parts, s", "difference from the whole", "first audio, s", "needs, s of mel"]
    figures = ("first_piece_seconds", "first_audio_needs_seconds", "first_audio_seconds")
    cells = [
        [row["model"], row["precision"], f"{row['part_seconds']:g}"]
        + ["0 (same bits)" if row["difference"] == 0 else f"{row['difference']:.1e}"]
        + [f"{row[name]:.2f}" for name in figures]
        for row in rows
    ]
    return table([*header, "after, s"], cells, 2)


def picture(results: dict[str, Any], path: Path) -> None:
    """Memory and real-time factor over length, of both ways."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    memory, speed = figure.subplots(1, 2)
    for model, colour in (("default", "tab:blue"), ("BASE", "tab:orange")):
        for chunked in (True, False):
            rows = [row for row in results["lengths"] if row["model"] == model and row["chunked"] == chunked]
            style = {"color": colour, "linestyle": "-" if chunked else ":", "marker": "o"}
            label = f"{model}, {'in chunks' if chunked else 'at once'}"
            minutes = [row["minutes"] for row in rows]
            memory.plot(minutes, [row["grown"] / _MIB for row in rows], label=label, **style)
            speed.plot(minutes, [row["rtf"] for row in rows], **style)
    memory.axhline(LIMIT_GIB * 1024, color="grey", linewidth=1)
    memory.text(60, LIMIT_GIB * 1024 * 1.02, "limit for an hour", color="grey", fontsize=8, ha="right")
    for axes, label in ((memory, "memory over the model's own, MiB"), (speed, "seconds for a second of audio")):
        axes.set_xscale("log")
        axes.set_xlabel("audio, minutes")
        axes.set_ylabel(label)
        axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
        axes.set_xticks([1, 10, 60], ["1", "10", "60"])
        axes.grid(alpha=0.3)
    memory.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


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
    results = stamp("python -m benchmarks.long_audio") | {"load": load, "threads": torch.get_num_threads()}
    results |= {"lengths": lengths, "parts": parts}
    write("long-audio", results, page(results), options.output / "benchmarks")
    picture(results, options.output / "images" / "long-audio.png")


if __name__ == "__main__":
    main()
