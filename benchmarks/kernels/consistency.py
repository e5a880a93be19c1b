"""What an iteration of mel consistency takes, in PyTorch and in the C kernel.

    python -m benchmarks.kernels.consistency

Writes ``docs/benchmarks/consistency.json`` and ``docs/benchmarks/consistency.md``. Both start from the same noise, go
towards the mel of a recording and take turns in one process, so that they meet the same machine; a ratio is of two
calls that follow one another.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.report import DOCUMENTS, UTTERANCE, measured, said, spread, stamp, table, write
from diffwave.audio.file import read_audio
from diffwave.config import MelConfig
from diffwave.dsp.noise import white_noise
from diffwave.kernels import native_consistency
from diffwave.mel.consistency import MelConsistency
from diffwave.mel.spectrogram import MelSpectrogram

SECONDS = (1, 10)
LEVEL = 0.01  # of the noise


def cases(consistency: MelConsistency, seconds: float) -> tuple[Tensor, Tensor]:
    """Noise ``[1, N]`` and the mel ``[1, M, F]`` of so many seconds of speech, repeated if need be."""
    config = consistency.mel.config
    samples = round(seconds * config.sample_rate) // config.hop_length * config.hop_length
    speech = read_audio(UTTERANCE, config.sample_rate).wav
    wav = speech.repeat(-(-samples // len(speech)))[:samples].unsqueeze(0)
    return LEVEL * white_noise(0, 0, samples).unsqueeze(0), consistency.mel(wav)


def in_pytorch(consistency: MelConsistency, wav: Tensor, target: Tensor, iterations: int) -> Tensor:
    """As where there is no kernel."""
    with mock.patch.object(native_consistency, "unavailable", return_value="for comparison"):
        found: Tensor = consistency(wav, target, iterations)
    return found


@torch.inference_mode()
def measure(seconds: float, threads: int, iterations: int, rounds: int) -> dict[str, Any]:
    """Time both ways in turns, after a round that is not counted.

    Returns:
        Seconds of an iteration ``pytorch`` and ``kernel``, and their ``ratio``, each as a ``Spread``; the ``distances``
        from the mel at which the two end (mean over all its values, in nat).
    """
    torch.set_num_threads(threads)
    consistency = MelConsistency(MelSpectrogram(MelConfig()))
    wav, target = cases(consistency, seconds)
    ways: dict[str, Callable[[], Tensor]] = {
        "pytorch": lambda: in_pytorch(consistency, wav, target, iterations),
        "kernel": lambda: consistency(wav, target, iterations),
    }
    distances = {name: float((consistency.mel(way()) - target).abs().mean()) for name, way in ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            taken[name].append((time.perf_counter() - begun) / iterations)
    ratios = [slow / fast for slow, fast in zip(taken["pytorch"], taken["kernel"], strict=True)]
    spreads = {name: spread(values) for name, values in [*taken.items(), ("ratio", ratios)]}
    return {"seconds": seconds, "threads": threads, **spreads, "distances": distances}


def page(results: dict[str, Any]) -> str:
    """The results page."""
    header = ["audio, s", "threads", "PyTorch, ms", "C kernel, ms", "ratio", "iterations at 100 times real time"]
    rows = [
        (
            f"{case['seconds']:g}",
            case["threads"],
            said(case["pytorch"], 3, 1e3),
            said(case["kernel"], 3, 1e3),
            said(case["ratio"], 1),
            f"{case['seconds'] / 100 / case['kernel']['median']:.0f}",
        )
        for case in results["cases"]
    ]
    distances = [case["distances"] for case in results["cases"]]
    largest = max(abs(found["kernel"] / found["pytorch"] - 1) for found in distances)
    return "\n".join(
        [
            "# What an iteration of mel consistency takes",
            "",
            "Every time is in [consistency.json](consistency.json).",
            "",
            *table(header, rows, words=0),
            "",
            f"The default mel (16 kHz, frames of 1024 every 256 samples, 80 bands), calls of {results['iterations']} "
            f"iterations from noise towards the mel of a recording, set-up included; medians of {results['rounds']} "
            "rounds with least and most, in which the two take turns. A ratio is of two calls that follow one another.",
            "",
            f"Both are float32. They end equally close to the mel: the mean distances differ by {largest:.1%} at most.",
            "",
            f"{measured(results)} Load average before: {results['load']:.1f}; threads wait for whichever "
            "is interrupted, so with several threads the ratio on a busy machine is mostly that.",
            "",
        ]
    )


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--output", type=Path, default=DOCUMENTS, help="folder of the two files")
    options = parser.parse_args()
    reason = native_consistency.unavailable(MelSpectrogram(MelConfig()).geometry)
    if reason is not None:
        parser.error(f"the kernel cannot run here: {reason}")
    load = os.getloadavg()[0]
    counts = sorted({1, min(2, os.cpu_count() or 1)})
    found = [measure(length, threads, options.iterations, options.rounds) for length in SECONDS for threads in counts]
    results = {
        **stamp("python -m benchmarks.kernels.consistency"),
        "load": load,
        "iterations": options.iterations,
        "rounds": options.rounds,
        "cases": found,
    }
    write("consistency", results, page(results), options.output)


if __name__ == "__main__":
    main()
