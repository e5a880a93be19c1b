"""Checkpoints of other projects, and ONNX: how equal the outputs are, and how fast onnxruntime is beside this project.

    python -m benchmarks.peers.interop [--peers FOLDER] [--repeats 7]

Writes ``docs/benchmarks/interop.json`` (every figure) and ``docs/benchmarks/interop.md``; fails if outputs that should
be equal differ by more than 1e-4. Needs the extras ``tts`` (SpeechBrain) and ``onnx``, and installs lmnt-com's package
into a temporary folder.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import parity
from benchmarks.peers.packages import PeerUnavailableError, install
from benchmarks.report import DOCUMENTS, UTTERANCE, measured, said, spread, stamp, table, write
from diffwave.audio.file import read_audio
from diffwave.checkpoint.folder import Checkpoint, checkpoint_folder, load_checkpoint
from diffwave.interop.onnx_export import export_onnx
from diffwave.interop.onnx_names import OPSET
from diffwave.interop.onnx_runtime import load_onnx
from diffwave.vocoder import Vocoder

TOLERANCE = 1e-4
SECONDS = (0.1, 1.0, 4.0)
_BASE_SHAPE = {"residual_layers": 30, "residual_channels": 64, "dilation_cycle_length": 10}
_KINDS = {
    "mel": "mel of the front end",
    "fast one": "6 steps, one mel",
    "full one": "50 steps, one mel",
    "fast two": "6 steps, two mels",
    "full two": "50 steps, two mels",
}
_BACKENDS = {"reference": "PyTorch, float32", "native": "the C kernel, bfloat16", "triton": "Triton, bfloat16"}


def imports(peer: Path, folder: Path) -> list[dict[str, Any]]:
    """A row for each foreign model: its outputs beside those of the imported checkpoint."""
    rows = []
    for name, shape, frames in (("BASE", {}, 10), ("small", parity.SMALL, 40)):
        work = folder / f"lmnt-{name}"
        work.mkdir()
        figures = parity.lmnt_figures(work, parity.lmnt_answer(peer, work, shape, frames))
        rows.append({"project": "lmnt-com", "model": name, "figures": figures})
        work = folder / f"speechbrain-{name}"
        work.mkdir()
        diffusion = parity.speechbrain_model(work, shape or _BASE_SHAPE)
        figures = parity.speechbrain_figures(work, diffusion, frames)
        rows.append({"project": "SpeechBrain", "model": name, "figures": figures})
    return rows


def exported(checkpoint: Checkpoint, folder: Path, repeats: int) -> dict[str, Any]:
    """Sizes, equality and speed of a checkpoint's export."""
    step = export_onnx(checkpoint, folder)
    ours, theirs = Vocoder(checkpoint, "cpu", "reference", "float32"), load_onnx(folder, threads=1)
    return {
        "bytes": {path.name: path.stat().st_size for path in sorted(folder.glob("*.onnx"))},
        "step_difference": step,
        "chains": [chain(ours, theirs, length, steps) for length in SECONDS for steps in (6, "full")],
        "speed": [speed(checkpoint, theirs, length, repeats) for length in SECONDS[1:]],
    }


def mel_of(vocoder: Vocoder, seconds: float) -> Tensor:
    """Mel of the packaged utterance from its first second on, ``[M, F]``; before that it is nearly silent."""
    wav = read_audio(UTTERANCE, vocoder.sample_rate).wav[vocoder.sample_rate :]
    return vocoder.mel(wav[: max(1, round(seconds * vocoder.sample_rate / vocoder.hop_length)) * vocoder.hop_length])


def chain(ours: Vocoder, theirs: Vocoder, seconds: float, steps: int | str) -> dict[str, Any]:
    """Synthesis by the network alone, of one seed."""
    mel = mel_of(ours, seconds)
    expected, found = (one.synthesize(mel, steps=steps, seed=1, consistency=0) for one in (ours, theirs))
    figures = parity.compared(found, expected)
    return {"seconds": mel.shape[-1] * ours.hop_length / ours.sample_rate, "steps": steps, **figures}


def speed(checkpoint: Checkpoint, theirs: Vocoder, seconds: float, repeats: int) -> dict[str, Any]:
    """Seconds of one network call in turn, and ratios within each round; one thread each."""
    systems: dict[str, Vocoder] = {"onnx": theirs, "reference": Vocoder(checkpoint, "cpu", "reference", "float32")}
    fastest = Vocoder(checkpoint, "cpu")
    systems |= {} if fastest.backend == "reference" else {fastest.backend: fastest}
    mel = mel_of(theirs, seconds).unsqueeze(0)
    calls = {name: _call(vocoder, mel) for name, vocoder in systems.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            if repeat:
                times[name].append(time.perf_counter() - begun)
    others = {name: zip(times["onnx"], values, strict=True) for name, values in times.items() if name != "onnx"}
    return {
        "seconds": mel.shape[-1] * theirs.hop_length / theirs.sample_rate,
        "times": {name: spread(values) for name, values in times.items()},
        "ratios": {name: spread(mine / other for mine, other in pairs) for name, pairs in others.items()},
    }


def _call(vocoder: Vocoder, mel: Tensor) -> Callable[[], Tensor]:
    """One network call with a condition that is ready, as in the middle of a synthesis."""
    with torch.inference_mode():
        network = vocoder.network
        ready = network.prepare(network.condition(mel), calls=6)
        noisy, step = torch.randn(1, mel.shape[-1] * vocoder.hop_length), torch.tensor([10.5], dtype=torch.float64)

    @torch.inference_mode()
    def call() -> Tensor:
        return network(noisy, step, ready)

    return call


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything."""
    import onnxruntime
    import speechbrain

    torch.set_num_threads(1)
    peer = install("lmnt", options.peers or folder)
    found = stamp(f"python -m benchmarks.peers.interop --repeats {options.repeats}")
    found["environment"] |= {"onnxruntime": onnxruntime.__version__, "speechbrain": speechbrain.__version__}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export = exported(load_checkpoint(checkpoint_folder("default")), folder / "default", options.repeats)
        found |= {"tolerance": TOLERANCE, "opset": OPSET, "imports": imports(peer, folder), "export": export}
    return found


def worst(results: dict[str, Any]) -> float:
    """The largest difference of outputs that should be equal; NaN if one is."""
    found = [row["difference"] for model in results["imports"] for row in model["figures"].values()]
    found += [results["export"]["step_difference"], *(row["difference"] for row in results["export"]["chains"])]
    return math.nan if any(math.isnan(value) for value in found) else max(found)


def page(results: dict[str, Any]) -> str:
    """The results page."""
    export = results["export"]
    sizes = ", ".join(f"`{name}` {size / 2**20:.2f} MiB" for name, size in export["bytes"].items())
    return "\n".join(
        [
            "# Checkpoints of other projects, and ONNX",
            "",
            "What can be imported and exported, and how: [interop.md](../interop.md). Every figure is in "
            "[interop.json](interop.json).",
            "",
            "## Imported checkpoints beside their originals",
            "",
            "The other project's own code writes the checkpoint, makes the mel and speaks, with random weights whose "
            "output layer is not zero; `diffwave import` takes the file over, and `Vocoder.synthesize` speaks with the "
            "same noise in float32. Largest absolute difference:",
            "",
            *_imports(results),
            "",
            "*small* has 6 layers of 16 channels. The last column is how far the outputs for two mels are apart that "
            "were made with the same noise: a difference of the mel would be seen. SpeechBrain's inference fails with "
            "two mels at once, so its outputs for two are made one by one.",
            "",
            "## ONNX beside PyTorch",
            "",
            f"The default checkpoint through `diffwave export --to onnx` (opset {results['opset']}), onnxruntime and "
            "this project's loop, and through PyTorch in float32: the same seed, network alone. One exported file "
            "serves all lengths. A single network call with white noise differs by at most "
            f"{export['step_difference']:.1e}; largest difference of a sample after all calls:",
            "",
            *table(
                ["audio, s", "network calls", "difference", "RMS of the output"],
                [
                    (f"{row['seconds']:.2f}", row["steps"], f"{row['difference']:.1e}", f"{row['rms']:.3f}")
                    for row in export["chains"]
                ],
                0,
            ),
            "",
            "One network call on one thread, in turn; ratios are of neighbours in time: median, and the extremes of "
            "the rounds. Below 1 onnxruntime is faster.",
            "",
            *_speed(export),
            "",
            f"{sizes}. PyTorch keeps the projections of the mel between calls; the ONNX step makes them anew, so that "
            "what passes between the files stays small.",
            "",
            measured(results),
            "",
        ]
    )


def _imports(results: dict[str, Any]) -> list[str]:
    rows = []
    for row in results["imports"]:
        figures, last = row["figures"], row["figures"]["full two"]
        cells = [f"{figures[kind]['difference']:.1e}" for kind in _KINDS]
        rows.append([row["project"], row["model"], *cells, f"{last['rms']:.2f}", f"{last['moved']:.3f}"])
    return table(["checkpoint", "model", *_KINDS.values(), "RMS of outputs", "what the mel changes, RMS"], rows, 2)


def _speed(export: dict[str, Any]) -> list[str]:
    rows = [
        (
            _BACKENDS[name],
            f"{row['seconds']:.2f}",
            f"{row['times']['onnx']['median']:.4f}",
            f"{row['times'][name]['median']:.4f}",
            said(ratio),
        )
        for row in export["speed"]
        for name, ratio in row["ratios"].items()
    ]
    return table(["beside", "audio, s", "onnxruntime, s", "its time, s", "onnxruntime's time over it"], rows)


def main() -> None:
    """Compare, write, and print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    help_ = "folder of other projects' packages, for the next time; without it they are installed for once"
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help=help_)
    parser.add_argument("--repeats", type=int, default=7, help="rounds of the timing")
    parser.add_argument("--output", type=Path, default=DOCUMENTS, help="folder of the two files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            results = run(options, Path(folder))
        except PeerUnavailableError as error:
            sys.exit(f"interop: {error}")
    write("interop", results, page(results), options.output)
    if not worst(results) <= TOLERANCE:
        sys.exit("interop: outputs differ by more than the tolerance")


if __name__ == "__main__":
    main()
