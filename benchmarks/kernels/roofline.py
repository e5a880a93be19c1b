"""What a residual layer must compute and move, and the least time that takes on an H200.

Letters as in ``diffwave.kernels.layers``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffwave.kernels.triton_tiles import width

FLOPS = 790e12  # bfloat16 products, as measured on an H200; the data sheet says 989e12
DRAM = 4.8e12  # bytes a second, data sheet
NUMBER = 2  # bytes of a bfloat16
BANDS, PADDED_BANDS = 80, 96
# Numbers of C a position that each way of computing a layer reads and writes, in units of C: counted operation by
# operation in the definition, where projections are kept.
PASSES = {
    "eager": {
        "x + shift": 2,
        "dilated convolution": 3,
        "+ condition": 6,
        "sigmoid": 2,
        "tanh": 2,
        "product": 3,
        "output projection": 3,
        "x + residual": 3,
        "scale": 2,
        "total + skip": 3,
    },
    "torch.compile": {
        "x + shift": 2,
        "dilated convolution": 3,
        "+ condition, gate": 5,
        "output projection": 3,
        "residual": 3,
        "skip": 3,
    },
    "fused": {"x": 1, "condition": 2, "next x": 1, "total, read and written": 2},
}
# The backward pass likewise, and seven times the mel: in, and its gradient summed over layers in float32.
BACKWARD_PASSES = {
    "gate: gradients of next x and total, gate and signal": 4,
    "gate: gradient of gate and signal, product": 3,
    "input: gradients of gate and signal and of next x": 3,
    "input: gradient of x": 1,
    "weights: gradient of gate and signal, for three taps, condition, mel and shifts": 12,
    "weights: x, for three taps": 3,
    "weights: product, twice, gradients of next x and total, for products and biases": 6,
}


@dataclass(frozen=True)
class Model:
    """What one second of audio is to the stack.

    Args:
        name: of the model.
        channels, layers: ``C`` and ``L``.
        cycle: dilations are 1, 2, 4 and so on, ``cycle`` of them, again and again.
        rate: positions a second.
    """

    name: str
    channels: int
    layers: int
    cycle: int
    rate: int


MODELS = (Model("BASE", 64, 30, 10, 16000), Model("fast", 96, 12, 6, 2000), Model("LARGE", 128, 30, 10, 16000))


def layer_costs(channels: int) -> list[dict[str, Any]]:
    """Operations and bytes of one layer at one position, for each way to get the condition and each direction."""
    columns = width(channels)
    useful, issued = 16 * channels**2, 4 * columns * (3 * channels + columns)
    useful_mel, issued_mel = 4 * BANDS * channels, 4 * PADDED_BANDS * columns
    # The backward pass: the gate's gradient (output projection turned round), the input's, three gradients of weights.
    backward = 2 * useful + 2 * useful_mel
    backward_issued = 4 * columns * channels * 4 + useful + 2 * useful_mel
    x = NUMBER * channels
    mel = NUMBER * PADDED_BANDS
    rows = [
        ("synthesis, projections kept", useful, issued, 6 * x),
        ("synthesis, projections anew", useful + useful_mel, issued + issued_mel, 4 * x + mel),
        ("training, forward", useful + useful_mel, issued + issued_mel, 6 * x + mel),
        ("training, backward", backward, backward_issued, sum(BACKWARD_PASSES.values()) * x + 7 * mel),
    ]
    return [
        {
            "role": role,
            "channels": channels,
            "useful_flops": flops,
            "issued_flops": all_flops,
            "bytes": moved,
            "compute_ns": all_flops / FLOPS * 1e9,
            "memory_ns": moved / DRAM * 1e9,
        }
        for role, flops, all_flops, moved in rows
    ]


def model_limits(model: Model) -> dict[str, Any]:
    """Least time of the whole stack for one diffusion step and one second of audio, and what would bound others."""
    kept, anew = layer_costs(model.channels)[:2]
    positions = model.rate * model.layers
    moved = {way: sum(passes.values()) * NUMBER * model.channels for way, passes in PASSES.items()}
    return {
        "name": model.name,
        "channels": model.channels,
        "layers": model.layers,
        "rate": model.rate,
        "kept_us": max(kept["compute_ns"], kept["memory_ns"]) * positions / 1e3,
        "anew_us": max(anew["compute_ns"], anew["memory_ns"]) * positions / 1e3,
        "bytes": moved,
        "memory_us": {way: total / DRAM * positions * 1e6 for way, total in moved.items()},
    }


def limits() -> dict[str, Any]:
    """Limits of a layer at every width, and of whole models."""
    return {
        "flops": FLOPS,
        "bytes_per_second": DRAM,
        "layers": [row for channels in (32, 64, 96, 128) for row in layer_costs(channels)],
        "models": [model_limits(model) for model in MODELS],
    }
