"""What the precision of the products costs in sound: PESQ beside float32, utterance by utterance.

    python benchmarks/precision.py --data data/LibriSpeech

Writes ``docs/benchmarks/precision.json`` and ``docs/benchmarks/precision.md``. Products in int8 are simulated: weights
and activations of the residual layers are rounded as an int8 kernel would have to, the rest stays in float32. It tells
whether such a kernel would be worth writing, not how fast it would be.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffwave.audio.file import read_audio
from diffwave.evaluation.perceptual import pesq_wb
from diffwave.evaluation.statistics import cluster_interval
from diffwave.files import write_text
from diffwave.kernels.layers import ResidualLayer, Stack
from diffwave.kernels.native import unavailable
from diffwave.kernels.reference import project, residual_layer
from diffwave.vocoder import Vocoder
from machine import environment

ROOT = Path(__file__).resolve().parent.parent
EXACT = "float32"
# System: backend and precision of the vocoder.
SYSTEMS = {
    EXACT: ("reference", "float32"),
    "bfloat16, autocast": ("reference", "bfloat16"),
    "bfloat16, native kernel": ("native", "bfloat16"),
    "int8, simulated": ("reference", "float32"),
}
LIMIT = 0.05  # that PESQ may lose


def in_int8(values: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """Round to 255 levels between plus and minus the largest magnitude, of everything or along ``dims``."""
    largest = values.abs().amax() if dims is None else values.abs().amax(dim=tuple(dims), keepdim=True)
    scale = (largest / 127).clamp_min(1e-12)
    return (values / scale).round() * scale


class SimulatedInt8:
    """The reference with int8 products: a scale for each output channel of a weight, one for all activations."""

    name = "int8"

    def stack(self, layers: Sequence[ResidualLayer], mel: Tensor, mask: Tensor | None, calls: int) -> Stack:
        """See :class:`~diffwave.kernels.layers.Backend`."""
        assert mask is None, "utterances one by one"
        assert calls > 1, "for synthesis"
        conditions = [project(layer, mel) for layer in layers]
        dilated = [in_int8(layer.dilated_weight, (1, 2)) for layer in layers]
        output = [in_int8(layer.output_weight, (1, 2)) for layer in layers]

        def run(x: Tensor, shifts: Tensor) -> Tensor:
            total = torch.zeros_like(x)
            for index, layer in enumerate(layers):
                shift = shifts[:, index].unsqueeze(-1)
                residual, skip = _layer(x, shift, conditions[index], dilated[index], output[index], layer)
                x, total = residual, total + skip
            return total

        return run


def _layer(
    x: Tensor, shift: Tensor, condition: Tensor, dilated: Tensor, output: Tensor, layer: ResidualLayer
) -> tuple[Tensor, Tensor]:
    channels = x.shape[1]
    # A projection of every channel to itself hands the gated values out as the skip connection, to be rounded.
    through = torch.cat([torch.zeros(channels, channels), torch.eye(channels)]).unsqueeze(-1)
    nothing = torch.zeros(2 * channels)
    shifted = in_int8(x + shift)
    zero = torch.zeros_like(shift)
    _, hidden = residual_layer(shifted, zero, condition, dilated, layer.dilated_bias, through, nothing, layer.dilation)
    result = torch.nn.functional.conv1d(in_int8(hidden), output, layer.output_bias)
    residual, skip = result.chunk(2, dim=1)
    return (x + residual) * 0.5**0.5, skip


def score(vocoder: Vocoder, wavs: Sequence[Tensor]) -> dict[str, list[float]]:
    """PESQ-WB of every utterance, of the network alone and with the checkpoint's mel consistency."""
    scores: dict[str, list[float]] = {"alone": [], "default": []}
    for wav in wavs:
        mel = vocoder.mel(wav)
        for name, consistency in (("alone", 0), ("default", None)):
            output = vocoder.synthesize(mel, consistency=consistency)
            scores[name].append(pesq_wb(wav.numpy(), output[: len(wav)].numpy()))
    return scores


def measure(wavs: Sequence[Tensor]) -> dict[str, Any]:
    """Scores of every system that can run here."""
    found = {}
    for name, (backend, precision) in SYSTEMS.items():
        channels = Vocoder.from_pretrained(device="cpu", backend="reference").config.network.residual_channels
        if backend == "native" and unavailable(torch.device("cpu"), channels):
            continue
        vocoder = Vocoder.from_pretrained(device="cpu", backend=backend, precision=precision)
        if name.startswith("int8"):
            vocoder.network.backend = SimulatedInt8()
        found[name] = score(vocoder, wavs)
    return found


def differences(scores: dict[str, Any], name: str, column: str) -> dict[str, float]:
    """Mean of the paired differences from float32, with a 95 % interval."""
    pairs = zip(scores[name][column], scores[EXACT][column], strict=True)
    values = np.array([ours - exact for ours, exact in pairs])
    return dataclasses.asdict(cluster_interval(values, range(len(values))))


def page(results: dict[str, Any]) -> str:
    """The results page."""
    scores, where = results["scores"], results["environment"]
    lines = [
        "# What the precision of the products costs in sound",
        "",
        f"Generated by `{results['command']}`; every score is in [precision.json](precision.json).",
        "",
        "| products of the residual layers | PESQ-WB, network alone | difference | PESQ-WB, default | difference |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, found in scores.items():
        cells = [name]
        for column in ("alone", "default"):
            mean = sum(found[column]) / len(found[column])
            cells += [f"{mean:.3f}", "" if name == EXACT else _signed(results["differences"][name][column])]
        lines.append("| " + " | ".join(cells) + " |")
    int8 = results["differences"]["int8, simulated"]
    holds = min(int8[column]["low"] for column in int8) > -LIMIT
    return "\n".join(
        [
            *lines,
            "",
            f"The default checkpoint, 6 steps, {results['utterances']} utterances of `val`, the same noise. "
            "Differences are paired with float32: mean and 95 % interval (bootstrap).",
            "",
            "**int8** is simulated: weights with a scale for each output channel, activations of a layer with one "
            "scale, the stream, gates and sums in float32. Its quality "
            + (f"would hold (less than {LIMIT:g} lost)" if holds else "would not hold")
            + ". There is no int8 kernel: VNNI multiplies int8 twice as fast as bfloat16, but not in Winograd's form, "
            "whose sums of taps and inputs need more than 8 bits; three whole taps in int8 are three quarters of the "
            "time of Winograd's four half-length products in bfloat16, and products are about two thirds of the "
            "kernel's time.",
            "",
            f"Measured on {where['processor']}, Python {where['python']}, torch {where['torch']}.",
            "",
        ]
    )


def _signed(found: dict[str, float]) -> str:
    return f"{found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"


def main() -> None:
    """Synthesize, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="LibriSpeech root")
    parser.add_argument("--limit", type=int, help="only so many utterances (for a try)")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks", help="folder of the two files")
    options = parser.parse_args()
    names = (ROOT / "recipes/librispeech/splits/val.txt").read_text(encoding="utf-8").split()[: options.limit]
    wavs = [read_audio(options.data / name, 16000).wav for name in names]
    scores = measure(wavs)
    changed = {
        name: {column: differences(scores, name, column) for column in ("alone", "default")}
        for name in scores
        if name != EXACT
    }
    results = {
        "command": "python benchmarks/precision.py --data data/LibriSpeech",
        "environment": environment(),
        "utterances": len(wavs),
        "scores": scores,
        "differences": changed,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    write_text(options.output / "precision.json", json.dumps(results, indent=1) + "\n")
    write_text(options.output / "precision.md", page(results))
    print(page(results))


if __name__ == "__main__":
    main()
