"""Which implementation runs the residual layers, and in which precision.

A backend that is named runs or raises; ``auto`` takes the fastest that can run, and says in one line of the log if
that is not the one meant for the device.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from dataclasses import dataclass

import torch

from diffwave.errors import UserError
from diffwave.kernels import compiled
from diffwave.kernels.backend_names import BACKENDS, PRECISIONS
from diffwave.kernels.layers import Backend
from diffwave.kernels.reference import Reference

# Hand-written kernels: where each one lives, imported only when asked for, and the kind of device it is meant for.
# Their products are always in bfloat16.
_KERNELS = {
    "native": ("diffwave.kernels.native", "Native", "cpu"),
    "triton": ("diffwave.kernels.triton_backend", "Triton", "cuda"),
}
# What torch calls instructions for products of bfloat16, on x86 and on ARM.
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
_log = logging.getLogger(__name__)


class BackendError(UserError, ValueError):
    """A backend or precision that was asked for and cannot be had."""


@dataclass(frozen=True)
class BackendChoice:
    """How a network is run.

    Args:
        backend: runs the residual layers.
        precision: ``float32`` or ``bfloat16``, of the products in the residual layers.
        autocast: device type whose autocast makes that precision; None where the backend does, or none is needed.
    """

    backend: Backend
    precision: str
    autocast: str | None = None

    def arithmetic(self) -> contextlib.AbstractContextManager[object]:
        """A context to run the network in."""
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(self.autocast, torch.bfloat16)


def choose(backend: str, precision: str, device: torch.device, channels: int, padding: str = "zeros") -> BackendChoice:
    """Pick the backend and the precision to run a network with.

    Args:
        backend: one of ``BACKENDS``. ``auto`` is the C kernel on a CPU and the Triton kernels on a GPU where they can
            run, else the reference.
        precision: one of ``PRECISIONS``. ``auto`` is bfloat16 with the hand-written kernels, which know no other, and
            float32 with all else.
        device: where the network is.
        channels: ``C``.
        padding: of the dilated convolutions; the hand-written kernels know ``zeros`` alone.

    Raises:
        BackendError: for an unknown name, or a backend that was named and cannot run there or in that precision.
    """
    for name, value, known in (("backend", backend, BACKENDS), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise BackendError(f"{name}: expected one of {', '.join(known)}; got {value!r}")
    if backend == "auto":
        return _fastest(precision, device, channels, padding)
    if backend in _KERNELS:
        if precision == "float32":
            raise BackendError(
                f"backend {backend}: expected precision bfloat16 or auto (its products know no other); got float32"
            )
        kernel = _kernel(backend, device, channels, padding)
        if isinstance(kernel, str):
            raise BackendError(f"backend {backend} cannot run here: {kernel}")
        return BackendChoice(kernel, "bfloat16")
    reason = compiled.unavailable(device) if backend == "compiled" else None
    if reason:
        raise BackendError(f"backend {backend} cannot run here: {reason}")
    return _plain(compiled.Compiled() if backend == "compiled" else Reference(), precision, device, "")


def _fastest(precision: str, device: torch.device, channels: int, padding: str) -> BackendChoice:
    """What ``auto`` stands for."""
    name = next((name for name, (_, _, kind) in _KERNELS.items() if kind == device.type), None)
    if name is None or precision == "float32":
        return _plain(Reference(), precision, device, "")
    kernel = _kernel(name, device, channels, padding)
    if isinstance(kernel, str):
        return _plain(Reference(), precision, device, f"without the {name} kernel: {kernel}")
    return BackendChoice(kernel, "bfloat16")


def _kernel(name: str, device: torch.device, channels: int, padding: str) -> Backend | str:
    """A hand-written kernel, or why it cannot run, in words."""
    if padding != "zeros":
        return f"expected a network with zeros beyond the ends of the signal; got network.padding={padding}"
    where, what, _ = _KERNELS[name]
    try:
        module = importlib.import_module(where)
    except (ImportError, OSError, RuntimeError) as error:  # such as a PyTorch without triton, or one that does not fit
        return f"{where} cannot be imported; {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    reason: str | None = module.unavailable(device, channels)
    if reason is not None:
        return reason
    backend: Backend = getattr(module, what)()
    return backend


def _plain(backend: Backend, precision: str, device: torch.device, missed: str) -> BackendChoice:
    """A backend of plain PyTorch; one line of the log if that is slower than could be expected.

    Args:
        backend: the reference, compiled or not.
        precision: as asked for.
        device: where the network is.
        missed: why nothing faster runs, in words; empty if nothing faster was meant to.
    """
    chosen = BackendChoice(backend, "float32")
    if precision == "bfloat16":
        chosen = BackendChoice(backend, "bfloat16", autocast=device.type)
    slow = precision == "bfloat16" and device.type == "cpu" and not has_bfloat16()
    if slow:
        _log.warning("precision bfloat16 is slower than float32 here: this processor has no instructions for it")
    elif missed:
        # Most processors have no AVX512-BF16, and that is fine; a GPU without Triton is worth a look.
        level = logging.WARNING if device.type == "cuda" else logging.INFO
        _log.log(level, "residual layers in %s by plain PyTorch, %s", chosen.precision, missed)
    return chosen


def has_bfloat16() -> bool:
    """Whether this machine's processor multiplies bfloat16 (true where PyTorch cannot tell)."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    return capabilities is None or any(capabilities().get(flag, False) for flag in _BFLOAT16_FLAGS)
