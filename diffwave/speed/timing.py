"""How long a call takes, how much memory it needs, and what the machine could do at best.

The limits are measured, not taken from data sheets: a virtual machine, a shared memory bus or a power limit is then in
them, and a ratio to them compares two figures of one run.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

# Edges of the square matrices whose product is timed: large enough to fill the machine, small enough for a second.
_MATRICES = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192)}
# Far beyond any cache.
_COPIED_BYTES = {"cpu": 256 << 20, "cuda": 2 << 30}
_TRIES = {"cpu": 5, "cuda": 20}
_CPUINFO = Path("/proc/cpuinfo")
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class MachineLimits:
    """The fastest that a machine was seen to be.

    Args:
        operations: floating-point operations a second of a large matrix product, two for each multiply-add.
        traffic: bytes a second of a large copy, read and written.
    """

    operations: float
    traffic: float


@dataclass(frozen=True)
class Spread:
    """Median and extremes of repeated measurements."""

    median: float
    low: float
    high: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Summarise at least one value.

        >>> Spread.of([3.0, 1.0, 2.0]).median
        2.0
        """
        return cls(statistics.median(values), min(values), max(values), tuple(values))


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Wall time of a call, in seconds; a GPU has finished before and after."""
    synchronize(device)
    begun = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - begun


def synchronize(device: torch.device) -> None:
    """Wait for a GPU; a CPU is always done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def warm_up(call: Callable[[], object], device: torch.device) -> tuple[float, int | None]:
    """Run a call twice, so that later ones take their usual time.

    Returns:
        Seconds of the first call, and how far memory rises in the second (see :func:`peak_memory`): the first one
        also loads and builds what stays, and on a GPU the second is recorded.
    """
    return seconds(call, device), peak_memory(call, device)


def peak_memory(call: Callable[[], object], device: torch.device) -> int | None:
    """Run a call and return how far memory rose above where it was, in bytes; weights were there before.

    That is resident memory on a CPU, and what PyTorch has allocated on a GPU.

    Returns:
        None where the system does not tell (other than Linux).
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        allocated = torch.cuda.memory_allocated(device)
        call()
        synchronize(device)
        return torch.cuda.max_memory_allocated(device) - allocated
    before = _reset_peak()
    call()
    after = _status("VmHWM")
    return None if before is None or after is None else max(0, after - before)


def _reset_peak() -> int | None:
    """Let the peak begin again from what is resident now, and return that."""
    # What the allocator keeps for later calls would hide what this one needs.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _RESET.write_text("5", encoding="ascii")
    except OSError:
        return None
    return _status("VmRSS")


def _status(name: str) -> int | None:
    """A figure of this process in bytes, by its name in ``/proc/self/status``."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) << 10
    return None


def device_name(device: torch.device) -> str:
    """What the GPU or the processor calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in _CPUINFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def measure_limits(device: torch.device, dtype: torch.dtype) -> MachineLimits:
    """Measure what the machine can do, with the threads that PyTorch has now.

    Args:
        device: that computes.
        dtype: of the matrices.
    """
    return MachineLimits(max(_matrix_rate(edge, device, dtype) for edge in _MATRICES[device.type]), _copy_rate(device))


def _matrix_rate(edge: int, device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a product of two square matrices, the best of several."""
    left, right = (torch.full((edge, edge), 0.5, device=device, dtype=dtype) for _ in range(2))
    result = torch.empty_like(left)
    best = _best(lambda: torch.mm(left, right, out=result), device)
    return 2 * edge**3 / best


def _copy_rate(device: torch.device) -> float:
    """Bytes a second, each byte read and written, the best of several copies."""
    source = torch.zeros(_COPIED_BYTES[device.type], device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * source.numel() / _best(lambda: target.copy_(source), device)


def _best(call: Callable[[], Any], device: torch.device) -> float:
    """Shortest time of several calls after one to warm up, in seconds."""
    call()
    return min(seconds(call, device) for _ in range(_TRIES[device.type]))
