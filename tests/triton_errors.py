"""How far the fused stack and its gradients are from float64, beside eager bfloat16."""

from __future__ import annotations

from typing import Any

import torch

from diffwave.kernels.reference import Reference
from diffwave.kernels.triton_backend import Triton
from triton_cases import Shape, gradients, output, random_case, relative_error


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
