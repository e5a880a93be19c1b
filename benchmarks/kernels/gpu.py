"""Time the residual stack on a GPU: fused, eager and ``torch.compile`` of the definition, all in bfloat16."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.kernels.cases import Case, Shape, random_case
from benchmarks.kernels.roofline import MODELS, Model, layer_costs
from diffwave.kernels.layers import Stack
from diffwave.kernels.reference import Reference
from diffwave.kernels.triton_backend import Triton

ROUNDS, WARM = 30, 5
# Seconds of audio and examples. One second of one example stays in the GPU's level-2 cache of 50 MB, 16 x 4 s do not.
SYNTHESIS = ((1, 1), (4, 16))
TRAINING = ((1, 16),)


@dataclass(frozen=True)
class Way:
    """One implementation: its name and how to make the function that is timed."""

    name: str
    make: Callable[[Case], Callable[[], Any]]


def measure(functions: dict[str, Callable[[], Any]]) -> dict[str, dict[str, float]]:
    """Milliseconds of each function by CUDA events, in turns so that clocks and temperature reach all alike."""
    for function in functions.values():
        for _ in range(WARM):
            function()
    torch.cuda.synchronize()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            function()
            end.record()
            end.synchronize()
            times[name].append(start.elapsed_time(end))
    return {name: summary(values) for name, values in times.items()}


def summary(times: list[float]) -> dict[str, float]:
    """Median and the tenth and ninetieth percentile."""
    low, *_, high = statistics.quantiles(times, n=10, method="inclusive")
    return {"median_ms": statistics.median(times), "low_ms": low, "high_ms": high}


def prepared(stack: Stack, case: Case) -> Callable[[], Tensor]:
    """A call without gradients."""

    def run() -> Tensor:
        with torch.no_grad():
            return stack(case.x, case.shifts)

    return run


def in_graph(run: Callable[[], Any]) -> Callable[[], Any]:
    """The same as a CUDA graph: no work on the host but one launch."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def eager(case: Case) -> Callable[[], Tensor]:
    """The definition, operation by operation, projections kept."""
    return prepared(Reference(1 << 40).stack(case.layers, case.mel, None, calls=2), case)


def compiled(case: Case) -> Callable[[], Tensor]:
    """``torch.compile`` of the definition, projections kept."""
    stack = Reference(1 << 40).stack(case.layers, case.mel, None, calls=2)
    return prepared(torch.compile(stack, dynamic=False), case)


def fused(case: Case, cache_bytes: int = 1 << 40) -> Callable[[], Tensor]:
    """The Triton kernels; ``cache_bytes=0`` makes projections anew in every layer."""
    with torch.no_grad():
        stack = Triton(cache_bytes).stack(case.layers, case.mel, None, calls=2)
    return prepared(stack, case)


def training_step(stack_of: Callable[[Case], Stack], case: Case) -> Callable[[], None]:
    """Forward and backward, projections made anew as in training."""
    leaves = [leaf.requires_grad_() for _, leaf in case.leaves()]
    weighting = torch.randn_like(case.x)

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        stack_of(case)(case.x, case.shifts).backward(weighting)

    return run


def reference_stack(case: Case) -> Stack:
    """The definition with gradients."""
    return Reference().stack(case.layers, case.mel, None, calls=1)


def compiled_stack(case: Case) -> Stack:
    """``torch.compile`` of the definition with gradients; made once, as a training loop would."""
    compiled: Stack = torch.compile(reference_stack(case), dynamic=False)
    return compiled


def fused_stack(case: Case) -> Stack:
    """The Triton kernels with gradients."""
    return Triton().stack(case.layers, case.mel, None, calls=1)


def synthesis_row(model: Model, seconds: int, batch: int) -> dict[str, Any]:
    """One call of a stack, as in a diffusion step of synthesis."""
    case = random_case(Shape(model.channels, model.layers, model.cycle, batch, model.rate * seconds))
    case = case.to(torch.bfloat16, "cuda")
    ways = {"eager": eager(case), "torch.compile": compiled(case), "fused": fused(case)}
    ways["fused, projections anew"] = fused(case, cache_bytes=0)
    ways |= {f"{name}, CUDA graph": in_graph(ways[name]) for name in ("torch.compile", "fused")}
    return {"seconds": seconds, "limit_ms": limit(model, seconds * batch, training=False), **common(model, batch, ways)}


def training_row(model: Model, seconds: int, batch: int) -> dict[str, Any]:
    """Forward and backward of a stack."""
    case = random_case(Shape(model.channels, model.layers, model.cycle, batch, model.rate * seconds))
    case = case.to(torch.bfloat16, "cuda")
    stack = compiled_stack(case)
    ways = {
        "eager": training_step(reference_stack, case),
        "torch.compile": training_step(lambda _: stack, case),
        "fused": training_step(fused_stack, case),
    }
    return {"seconds": seconds, "limit_ms": limit(model, seconds * batch, training=True), **common(model, batch, ways)}


def common(model: Model, batch: int, ways: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """Columns of both kinds of row."""
    return {"model": model.name, "batch": batch, "times": measure(ways)}


def layer_row(model: Model, seconds: int, batch: int) -> dict[str, Any]:
    """A single layer, its condition projected."""
    shape = Shape(model.channels, 1, model.cycle, batch, model.rate * seconds)
    case = random_case(shape).to(torch.bfloat16, "cuda")
    ways = {"eager": eager(case), "torch.compile": compiled(case), "fused": fused(case)}
    ways = {name: in_graph(run) for name, run in ways.items()}
    bound = limit(model, seconds * batch, training=False) / model.layers
    return {"seconds": seconds, "limit_ms": bound, **common(model, batch, ways)}


def limit(model: Model, seconds: float, training: bool) -> float:
    """Least milliseconds of the fused stack, by operations or by bytes (``roofline``)."""
    kept, _, forward, backward = layer_costs(model.channels)
    rows: Iterable[dict[str, Any]] = (forward, backward) if training else (kept,)
    nanoseconds = sum(max(row["compute_ns"], row["memory_ns"]) for row in rows)
    return nanoseconds * model.rate * seconds * model.layers / 1e6


def everything() -> dict[str, Any]:
    """All timings."""
    torch.backends.cudnn.benchmark = True
    return {
        "device": torch.cuda.get_device_name(),
        "cuda": torch.version.cuda,
        "rounds": ROUNDS,
        "layer": [layer_row(model, *size) for model in MODELS for size in SYNTHESIS],
        "synthesis": [synthesis_row(model, *size) for model in MODELS for size in SYNTHESIS],
        "training": [training_row(model, *size) for model in MODELS for size in TRAINING],
    }
