"""How far the fused stack and its gradients are from float64, beside eager bfloat16; prints JSON.

    TRITON_INTERPRET=1 python -m benchmarks.kernels.errors

On a GPU ``benchmarks.kernels`` calls the same functions, with more and larger cases.
"""

from __future__ import annotations

import json
from typing import Any

import torch

from benchmarks.kernels.cases import Shape, gradients, output, random_case, relative_error
from diffwave.kernels.reference import Reference
from diffwave.kernels.triton_backend import Triton

INTERPRETED = (
    Shape(32, 10, 10, batch=2, positions=301),
    Shape(64, 30, 10, batch=1, positions=301),
    Shape(96, 12, 6, batch=1, positions=301),
    Shape(128, 10, 10, batch=1, positions=301),
)
ON_GPU = tuple(
    Shape(channels, layers, cycle, batch=batch, positions=positions)
    for channels, layers, cycle in ((32, 30, 10), (64, 30, 10), (96, 12, 6), (128, 30, 10))
    for batch, positions in ((1, 16001), (32, 2049), (1, 127), (3, 5003))
)


def forward_row(shape: Shape, device: str) -> dict[str, Any]:
    """Errors of the output: eager bfloat16, projections made anew, projections kept."""
    case = random_case(shape, None if shape.batch == 1 else ragged(shape))
    exact = output(Reference(), case.to(torch.float64, device), 1)
    eager = relative_error(output(Reference(), case.to(torch.bfloat16, device), 1), exact)
    given = case.to(torch.float32, device)
    anew, kept = (relative_error(output(Triton(), given, calls), exact) for calls in (1, 2))
    return {**vars(shape), "eager": eager, "anew": anew, "kept": kept}


def backward_row(shape: Shape, device: str) -> dict[str, Any]:
    """The gradient that comes closest to the budget, or passes it."""
    case = random_case(shape, None if shape.batch == 1 else ragged(shape))
    exact = gradients(Reference(), case.to(torch.float64, device))
    eager = gradients(Reference(), case.to(torch.bfloat16, device))
    fused = gradients(Triton(), case.to(torch.float32, device))
    errors = {
        name: (relative_error(fused[name], exact[name]), relative_error(eager[name], exact[name]))
        for name in exact
        if float(exact[name].norm()) > 0
    }
    worst = max(errors, key=lambda name: errors[name][0] / errors[name][1])
    fused_error, eager_error = errors[worst]
    return {**vars(shape), "gradients": len(errors), "worst": worst, "eager": eager_error, "fused": fused_error}


def ragged(shape: Shape) -> tuple[int, ...]:
    """Lengths from the whole down to one position."""
    return tuple(max(1, shape.positions * (shape.batch - i) // shape.batch) for i in range(shape.batch))


def errors(device: str, shapes: tuple[Shape, ...]) -> dict[str, Any]:
    """Every shape, forward and backward."""
    return {
        "forward": [forward_row(shape, device) for shape in shapes],
        "backward": [backward_row(shape, device) for shape in shapes],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(errors("cpu", INTERPRETED)))
