"""The page of ``peers.interop``, made of its figures alone."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.report import measured, said, table

_KINDS = {
    "mel": "mel of the front end",
    "fast one": "6 steps, one mel",
    "full one": "50 steps, one mel",
    "fast two": "6 steps, two mels",
    "full two": "50 steps, two mels",
}
_BACKENDS = {"reference": "PyTorch, float32", "native": "the C kernel, bfloat16", "triton": "Triton, bfloat16"}


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
