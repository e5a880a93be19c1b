"""The compiled C kernels: whether they can run here, what they are told of a batch, and their weights (``csrc/``)."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffwave.kernels.layers import ResidualLayer

_VERSION = 6  # of csrc/, see diffwave_version
_MOST_CHANNELS = 256
_NEEDED = ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_bf16")


def unavailable(device: torch.device, channels: int) -> str | None:
    """Why the kernel cannot run there, in words; None if it can.

    Args:
        device: where the network is.
        channels: ``C``.
    """
    if device.type != "cpu":
        return f"expected a CPU; got {device}"
    if channels % 32 or channels > _MOST_CHANNELS:
        return f"expected residual_channels to be a multiple of 32 up to {_MOST_CHANNELS}; got {channels}"
    return unavailable_library(_NEEDED, "AVX512-BF16")


def unavailable_library(needed: Sequence[str], name: str) -> str | None:
    """Why no part of the library can run here that needs these instructions, in words; None if it can.

    Args:
        needed: flags of the processor.
        name: of what they are together.
    """
    missing = [flag for flag in needed if flag not in _processor_flags()]
    if missing:
        return f"expected a processor with {name}; this one has no {missing[0]}"
    if _library() is None:
        return "expected the compiled kernel; it was not built when diffwave was installed (is there a C compiler?)"
    return None


@functools.cache
def _processor_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), []))


@functools.cache
def _library() -> ctypes.CDLL | None:
    for path in sorted(Path(__file__).parent.glob("_native*.so")):
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue
        for name in ("version", "sums", "stretch", "forward", "backward", "consistency"):
            function = getattr(library, f"diffwave_{name}", None)  # none on other processors
            if function is not None:
                function.restype = ctypes.c_int64
        if hasattr(library, "diffwave_version") and library.diffwave_version() == _VERSION:
            library.diffwave_use_openmp(*_openmp())
            return library
    return None


def _openmp() -> list[ctypes.c_void_p]:
    """Entries of the GNU OpenMP that PyTorch has loaded; NULL for all if it uses another one."""
    names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
    if "OpenMP" not in torch.__config__.parallel_info():
        return [ctypes.c_void_p()] * len(names)
    try:
        loaded = ctypes.CDLL(None)  # what the process has loaded already
        return [ctypes.cast(getattr(loaded, name), ctypes.c_void_p) for name in names]
    except AttributeError:
        return [ctypes.c_void_p()] * len(names)


class ShapeStructure(ctypes.Structure):
    """``Shape`` of ``csrc/stack.h``."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("layers", "examples", "positions", "channels", "bands", "threads")),
        ("reach", ctypes.c_int64),
        ("dilations", ctypes.c_void_p),
        ("lengths", ctypes.c_void_p),
    ]


_PACKED = ("dilated", "output", "condition", "gate_bias", "output_bias")
_PACKED_BACK = ("dilated_back", "output_back", "condition_back")


class PackedStructure(ctypes.Structure):
    """``Packed`` of ``csrc/pack.h``."""

    _fields_ = [(name, ctypes.c_void_p) for name in (*_PACKED, *_PACKED_BACK)]


def pointer(tensor: Tensor | None) -> int | None:
    """Where a tensor's numbers lie, for C; NULL for None."""
    return None if tensor is None else tensor.data_ptr()


@dataclass(frozen=True, eq=False)
class BatchSizes:
    """What the kernel is told of a batch.

    Args:
        layers, examples, positions, channels, bands: ``L``, ``B``, ``P``, ``C``, ``M``.
        dilations: of the layers, int64, shape ``[L]``.
        lengths: positions of each example, int64, shape ``[B]``.
    """

    layers: int
    examples: int
    positions: int
    channels: int
    bands: int
    dilations: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, layers: Sequence[ResidualLayer], mel: Tensor, mask: Tensor | None) -> BatchSizes:
        """Of layers and an upsampled mel ``[B, M, P]`` with its mask ``[B, 1, P]``.

        Raises:
            ValueError: if a weight's shape does not fit the mel or the other layers.
        """
        examples, bands, positions = mel.shape
        channels = layers[0].output_weight.shape[1]
        shapes = [(2 * channels, channels, 3), (2 * channels,), (2 * channels, bands, 1), (2 * channels,)]
        shapes += [(2 * channels, channels, 1), (2 * channels,)]
        for layer in layers:
            found = [tuple(value.shape) for value in tensors(layer)]
            if found != shapes:
                raise ValueError(
                    f"native kernel: expected weights of shapes {shapes} for a mel of {bands} bands; got {found}"
                )
        lengths = torch.full((examples,), positions) if mask is None else (mask[:, 0] != 0).sum(dim=-1)
        dilations = torch.tensor([layer.dilation for layer in layers])
        return cls(len(layers), examples, positions, channels, bands, dilations, lengths)

    def check(self, x: Tensor, shifts: Tensor) -> None:
        """Raise ``ValueError`` unless ``x`` is ``[B, C, P]`` and ``shifts`` ``[B, L, C]``: C does not look."""
        wanted = [(self.examples, self.channels, self.positions), (self.examples, self.layers, self.channels)]
        found = [tuple(x.shape), tuple(shifts.shape)]
        if found != wanted:
            raise ValueError(f"native kernel: expected stream and shifts of shapes {wanted}; got {found}")

    @property
    def reach(self) -> int:
        """The largest dilation."""
        return int(self.dilations.max())

    @property
    def rows(self) -> int:
        """Of an example with its margins of zeros."""
        return self.positions + 3 * self.reach

    def shape(self) -> ShapeStructure:
        """For C."""
        sizes = (self.layers, self.examples, self.positions, self.channels, self.bands, torch.get_num_threads())
        return ShapeStructure(*sizes, self.reach, self.dilations.data_ptr(), self.lengths.data_ptr())


class PackedWeights:
    """Weights in bfloat16 in the order in which the kernel reads them.

    Args:
        layers: the weights.
        sizes: of the batch.
        backward: also in the order of the backward pass.
    """

    def __init__(self, layers: Sequence[ResidualLayer], sizes: BatchSizes, backward: bool = False) -> None:
        count, channels, bands = sizes.layers, sizes.channels, sizes.bands
        half = functools.partial(torch.empty, dtype=torch.bfloat16)
        self.tensors = {
            "dilated": half(count * 8 * channels**2),
            "output": half(count * 2 * channels**2),
            "condition": half(count * 4 * channels * ((bands + 1) // 2)),
            "gate_bias": torch.empty(count * 2 * channels),
            "output_bias": torch.empty(count * 2 * channels),
        }
        if backward:
            self.tensors["dilated_back"] = half(count * 8 * channels**2)
            self.tensors["output_back"] = half(count * 2 * channels**2)
            self.tensors["condition_back"] = half(count * 2 * channels * (-(-bands // 16) * 16))
        values = [value for layer in layers for value in parameters(layer)]
        pointers = torch.tensor([value.data_ptr() for value in values])
        shape, packed = sizes.shape(), self.pointers()
        library().diffwave_pack(ctypes.byref(shape), ctypes.c_void_p(pointers.data_ptr()), ctypes.byref(packed))

    def pointers(self) -> PackedStructure:
        """For C."""
        return PackedStructure(*(pointer(self.tensors.get(name)) for name in (*_PACKED, *_PACKED_BACK)))


class PackedCache:
    """The weights that were packed last, for layers that are run again and again.

    Changes in place are seen by autograd's version counter, which counts what optimisers and ``load_state_dict`` do,
    but nothing that goes through ``.data`` or NumPy.
    """

    def __init__(self) -> None:
        self._kept: tuple[list[tuple[Tensor, int, int]], PackedWeights] | None = None

    def get(self, layers: Sequence[ResidualLayer], sizes: BatchSizes) -> PackedWeights:
        """Packed weights of these layers; packed anew if a tensor is another one or was changed in place."""
        values = [value for layer in layers for value in tensors(layer)]
        if any(value.is_inference() for value in values):  # they have no counter
            return PackedWeights(layers, sizes)
        state = [(value, value.data_ptr(), value._version) for value in values]
        kept = self._kept  # another thread may replace it meanwhile
        if kept is None or not _same(kept[0], state):
            kept = self._kept = state, PackedWeights(layers, sizes)
        return kept[1]

    def __reduce__(self) -> tuple[type[PackedCache], tuple[()]]:
        """Copied and stored without what it keeps."""
        return PackedCache, ()


def _same(one: list[tuple[Tensor, int, int]], other: list[tuple[Tensor, int, int]]) -> bool:
    # The tensors are held, so none of their addresses can have become another's.
    return len(one) == len(other) and all(
        a is b and where == there and version == later
        for (a, where, version), (b, there, later) in zip(one, other, strict=True)
    )


def tensors(layer: ResidualLayer) -> tuple[Tensor, ...]:
    """A layer's six parameters in the order of ``Parameters`` in ``csrc/stack.h``."""
    convolution = (layer.dilated_weight, layer.dilated_bias, layer.condition_weight, layer.condition_bias)
    return (*convolution, layer.output_weight, layer.output_bias)


def parameters(layer: ResidualLayer) -> list[Tensor]:
    """A layer's six parameters, float32 and contiguous."""
    return [value.detach().float().contiguous() for value in tensors(layer)]


def library() -> ctypes.CDLL:
    """The compiled kernel.

    Raises:
        RuntimeError: if it was not built; see :func:`unavailable`.
    """
    found = _library()
    if found is None:
        raise RuntimeError("native kernel: it was not built when diffwave was installed")
    return found
