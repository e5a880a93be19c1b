"""Time the residual stack on a GPU: fused, eager and ``torch.compile`` of the definition, all in bfloat16.

    python -m benchmarks.kernels.gpu

Writes ``docs/benchmarks/kernels.json`` and ``docs/benchmarks/kernels.md``; needs a CUDA GPU. How exact the kernels are
is what ``tests/kernels`` measure.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.report import measured, said, spread, stamp, table, write
from diffwave.kernels.layers import ResidualLayer, Stack
from diffwave.kernels.reference import Reference
from diffwave.kernels.triton_backend import Triton

ROUNDS, WARM = 30, 5
# Seconds of audio and examples. One second of one example stays in the GPU's level-2 cache of 50 MB, 16 x 4 s do not.
SYNTHESIS, TRAINING = ((1, 1), (4, 16)), ((1, 16),)
BANDS = 80
# Of an H200: bfloat16 products as measured (the data sheet says 989e12), and bytes a second of the data sheet.
FLOPS, DRAM = 790e12, 4.8e12


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


@dataclass(frozen=True, eq=False)
class Case:
    """Weights and inputs of a stack: ``x`` ``[B, C, P]``, ``shifts`` ``[B, L, C]``, ``mel`` ``[B, M, P]``."""

    layers: list[ResidualLayer]
    x: Tensor
    shifts: Tensor
    mel: Tensor


def random_case(model: Model, positions: int, batch: int, device: str = "cuda") -> Case:
    """He-initialised weights, and inputs of the size that the network has them, in bfloat16."""
    torch.manual_seed(0)
    channels = model.channels

    def normal(*size: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(size, device=device) * scale).bfloat16()

    layers = [
        ResidualLayer(
            normal(2 * channels, channels, 3, scale=(2 / (3 * channels)) ** 0.5),
            normal(2 * channels, scale=0.1),
            normal(2 * channels, BANDS, 1, scale=(2 / BANDS) ** 0.5),
            normal(2 * channels, scale=0.1),
            normal(2 * channels, channels, 1, scale=(2 / channels) ** 0.5),
            normal(2 * channels, scale=0.1),
            2 ** (index % model.cycle),
        )
        for index in range(model.layers)
    ]
    x, mel = normal(batch, channels, positions).relu(), normal(batch, BANDS, positions)
    return Case(layers, x, normal(batch, model.layers, channels, scale=0.3), mel)


def limit(model: Model, seconds: float, training: bool) -> float:
    """Least milliseconds of the fused stack: its products at ``FLOPS``, or each tensor once at ``DRAM``.

    Synthesis keeps projections of the mel. Training makes them anew, and its backward pass has twice the products and
    reads and writes 32 tensors of ``C`` numbers at a position, where forward has 6.
    """
    channels = model.channels
    useful, of_mel, x = 16 * channels**2, 4 * BANDS * channels, 2 * channels  # operations, and bytes of C numbers
    passes = [(useful, 6 * x)]
    if training:
        passes = [(useful + of_mel, 6 * x + 2 * BANDS), (2 * (useful + of_mel), 32 * x + 14 * BANDS)]
    least = sum(max(operations / FLOPS, moved / DRAM) for operations, moved in passes)
    return 1e3 * least * model.rate * seconds * model.layers


def measure(functions: dict[str, Callable[[], Any]]) -> dict[str, dict[str, Any]]:
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
    return {name: spread(values) for name, values in times.items()}


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


def fused(case: Case) -> Callable[[], Tensor]:
    """The Triton kernels, projections kept."""
    with torch.no_grad():
        stack = Triton(1 << 40).stack(case.layers, case.mel, None, calls=2)
    return prepared(stack, case)


def training_step(stack_of: Callable[[Case], Stack], case: Case) -> Callable[[], None]:
    """Forward and backward, projections made anew as in training."""
    weights = [value for layer in case.layers for value in vars(layer).values() if isinstance(value, Tensor)]
    leaves = [leaf.requires_grad_() for leaf in (case.x, case.shifts, case.mel, *weights)]
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


def row(model: Model, seconds: int, batch: int, training: bool) -> dict[str, Any]:
    """One call of a stack, as in a diffusion step of synthesis, or forward and backward."""
    case = random_case(model, model.rate * seconds, batch)
    if training:
        stack = compiled_stack(case)
        ways: dict[str, Callable[[], Any]] = {
            "eager": training_step(reference_stack, case),
            "torch.compile": training_step(lambda _: stack, case),
            "fused": training_step(fused_stack, case),
        }
    else:
        ways = {"eager": eager(case), "torch.compile": compiled(case), "fused": fused(case)}
        ways |= {f"{name}, CUDA graph": in_graph(ways[name]) for name in ("torch.compile", "fused")}
    size = {"model": model.name, "seconds": seconds, "batch": batch}
    return {**size, "limit_ms": limit(model, seconds * batch, training), "times": measure(ways)}


def page(results: dict[str, Any]) -> str:
    """The results page."""
    lines = [
        "# The fused residual layer on a GPU",
        "",
        f"Milliseconds, medians of {results['rounds']} rounds and their extremes, the ways in "
        "turns, in bfloat16. Eager and `torch.compile` are the definition; its projections of the mel are kept in "
        "synthesis, as ours. *Limit* is the least time of an H200 by bytes or operations; its share is that of the "
        "fastest fused way.",
    ]
    for kind, title in {"synthesis": "A diffusion step of synthesis", "training": "Forward and backward"}.items():
        names = list(results[kind][0]["times"])
        rows = []
        for found in results[kind]:
            times = [found["times"][name] for name in names]
            fastest = min(found["times"][name]["median"] for name in names if name.startswith("fused"))
            cells = [said(time, 3) for time in times]
            share = f"{found['limit_ms'] / fastest:.0%}"
            rows.append([found["model"], f"{found['batch']} × {found['seconds']} s", *cells])
            rows[-1] += [f"{found['limit_ms']:.3f}", share]
        lines += ["", f"## {title}", "", *table(["model", "audio", *names, "limit", "share"], rows, 2)]
    return "\n".join([*lines, "", measured(results), ""])


def main() -> None:
    """Measure and write the page."""
    if not torch.cuda.is_available():
        sys.exit("kernels: expected a CUDA GPU; this machine has none that PyTorch can use")
    torch.backends.cudnn.benchmark = True
    results = stamp("python -m benchmarks.kernels.gpu", "cuda") | {"rounds": ROUNDS}
    results["synthesis"] = [row(model, *size, training=False) for model in MODELS for size in SYNTHESIS]
    results["training"] = [row(model, *size, training=True) for model in MODELS for size in TRAINING]
    write("kernels", results, page(results))


if __name__ == "__main__":
    main()
