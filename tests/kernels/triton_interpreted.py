"""Run the Triton kernels in its interpreter and print how far they are from float64, as JSON.

A program of its own, for ``test_triton.py``: Triton chooses at import whether to interpret.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch

from diffwave.config import ModelConfig, NetworkConfig
from diffwave.kernels.reference import Reference
from diffwave.kernels.triton_backend import Triton
from diffwave.network.diffwave import DiffWave
from triton_cases import Shape, gradients, output, random_case, relative_error

# Odd lengths, around and below a tile of 128; dilations to 512, at positions where they reach and where they do not.
FORWARD: dict[str, tuple[Shape, tuple[int, ...] | None]] = {
    "16 channels": (Shape(16, 3, 2, 3, 129, bands=5), None),
    "32 channels, dilations to 512": (Shape(32, 10, 10, 1, 601, bands=20), None),
    "48 channels": (Shape(48, 2, 2, 1, 77), None),
    "64 channels, masked": (Shape(64, 4, 4, 3, 261), (261, 128, 1)),
    "64 channels, all dilations beyond the ends": (Shape(64, 10, 10, 1, 1), None),
    "96 channels": (Shape(96, 3, 3, 1, 131), None),
    "128 channels, masked": (Shape(128, 3, 3, 3, 127), (127, 64, 5)),
}
BACKWARD: dict[str, tuple[Shape, tuple[int, ...] | None]] = {
    "32 channels, masked": (Shape(32, 5, 5, 3, 141, bands=20), (141, 60, 3)),
    "96 channels": (Shape(96, 2, 2, 1, 67), None),
    "16 channels, dilation beyond the ends": (Shape(16, 6, 6, 2, 19, bands=5), None),
}


def forward_errors(shape: Shape, lengths: tuple[int, ...] | None) -> dict[str, float]:
    """Of eager bfloat16, and fused with projections kept and not."""
    case = random_case(shape, lengths)
    exact = output(Reference(), case.to(torch.float64), 1)
    eager = output(Reference(), case.to(torch.bfloat16), 1)
    found = {"eager": relative_error(eager, exact)}
    for name, calls in (("anew", 1), ("kept", 2)):
        found[name] = relative_error(output(Triton(), case, calls), exact)
    return found


def streamed_error(shape: Shape, lengths: tuple[int, ...] | None) -> float:
    """Kept projections through the kernel that does not hold its weights, as where they do not fit."""
    import diffwave.kernels.triton_resident

    case = random_case(shape, lengths)
    fits = diffwave.kernels.triton_resident.resident_fits
    diffwave.kernels.triton_resident.resident_fits = lambda *_: False  # type: ignore[assignment]
    try:
        return relative_error(output(Triton(), case, 2), output(Reference(), case.to(torch.float64), 1))
    finally:
        diffwave.kernels.triton_resident.resident_fits = fits


def backward_errors(shape: Shape, lengths: tuple[int, ...] | None) -> dict[str, dict[str, float]]:
    """Of every gradient: eager bfloat16 and fused."""
    case = random_case(shape, lengths)
    exact = gradients(Reference(), case.to(torch.float64))
    eager = gradients(Reference(), case.to(torch.bfloat16))
    fused = gradients(Triton(), case.to(torch.float32))
    assert fused.keys() == exact.keys()
    return {
        name: {"eager": relative_error(eager[name], exact[name]), "fused": relative_error(fused[name], exact[name])}
        for name in exact
        if float(exact[name].norm()) > 0  # the last layer's residual path leads nowhere
    }


def alone_difference() -> float:
    """Largest difference of a masked example in a batch from the same example by itself."""
    shape, lengths = Shape(64, 3, 3, 2, 200), (200, 77)
    case = random_case(shape, lengths)
    worst = 0.0
    for calls in (1, 2):
        together = output(Triton(), case, calls)[1, :, :77]
        with torch.no_grad():
            run = Triton().stack(case.layers, case.mel[1:, :, :77], None, calls)
            alone = run(case.x[1:, :, :77], case.shifts[1:])[0]
        worst = max(worst, float((together - alone).abs().max()))
    return worst


def network_errors() -> dict[str, dict[str, float]]:
    """Of a whole network: its prediction with everything prepared, and the gradient of all weights together."""
    found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name, dtype, backend in (
        ("exact", torch.float64, Reference()),
        ("eager", torch.bfloat16, Reference()),
        ("fused", torch.float32, Triton()),
    ):
        network = small_network().to(dtype)
        network.backend = backend
        generator = torch.Generator().manual_seed(1)
        mel = torch.randn(2, 80, 2, generator=generator).to(dtype)
        noisy = torch.randn(2, 512, generator=generator).to(dtype)
        step = torch.tensor([3.0, 20.0], dtype=dtype)
        with torch.no_grad():
            prediction = network(noisy, step, network.prepare(network.condition(mel), calls=4))
        network(noisy, step, network.condition(mel)).square().mean().backward()
        found[name] = prediction, torch.cat([value.grad.flatten() for value in network.parameters()])
    exact = found.pop("exact")
    return {
        name: {"prediction": relative_error(values[0], exact[0]), "gradient": relative_error(values[1], exact[1])}
        for name, values in found.items()
    }


def small_network() -> DiffWave:
    """Random weights, the output layer's too: new ones are zero."""
    network = NetworkConfig(residual_channels=16, residual_layers=3, dilation_cycle=3, squeeze=8)
    torch.manual_seed(0)
    made = DiffWave(ModelConfig(network=network))
    torch.nn.init.normal_(made.output_projection.weight)
    return made


def autocast_difference() -> float:
    """Largest difference that autocast makes: none, since the kernels choose their types themselves."""
    case = random_case(Shape(16, 2, 2, 1, 33, bands=5))
    plain = output(Triton(), case, 2)
    with torch.autocast("cpu", torch.bfloat16):
        return float((output(Triton(), case, 2) - plain).abs().max())


def main() -> None:
    """Everything at once: importing torch costs more than most cases."""
    torch.set_num_threads(1)
    before = "triton" in sys.modules
    found: dict[str, Any] = {
        "imported early": before,
        "forward": {name: forward_errors(*case) for name, case in FORWARD.items()},
        "streamed": streamed_error(*FORWARD["64 channels, masked"]),
        "backward": {name: backward_errors(*case) for name, case in BACKWARD.items()},
        "alone": alone_difference(),
        "network": network_errors(),
        "autocast": autocast_difference(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
