"""Mel consistency as a C kernel for CPUs with AVX-512 (``csrc/consistency.h``): all iterations in one call."""

from __future__ import annotations

import ctypes
import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from diffwave.dsp.stft import FrameGeometry, FrameTransform
from diffwave.kernels.native_library import library, unavailable_library

_LANES = 16
_NEEDED = ("avx512f", "avx512bw", "avx512vl", "avx512dq")
_SMALLEST_FFT = 64


def unavailable(geometry: FrameGeometry) -> str | None:
    """Why the kernel cannot run here or for these frames, in words; None if it can."""
    size = geometry.n_fft
    if size < _SMALLEST_FFT or size % 2 or math.prod(plan(size // 2)) != size // 2:
        return f"expected n_fft to be even, {_SMALLEST_FFT} or more, with prime factors up to 7; got {size}"
    if min(geometry.padding) < 0:
        return f"expected frames that reach beyond the ends of the signal; got a padding of {geometry.padding}"
    return unavailable_library(_NEEDED, "AVX-512")


class _Spectrum(ctypes.Structure):
    _fields_ = [
        ("half", ctypes.c_int64),
        ("bands", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("radices", "pass_twiddles", "twiddles", "places", "own", "spread")),
        *((name, ctypes.c_float) for name in ("limit", "floor", "ceiling")),
        ("squared", ctypes.c_int32),
    ]


class _Consistency(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("examples", "frames", "hop", "fft", "left", "right", "iterations")),
        *((name, ctypes.c_int64) for name in ("threads", "reflected", "held")),
        ("spectrum", _Spectrum),
        ("momentum", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("analysis", "synthesis", "weight")),
        *((name, ctypes.c_void_p) for name in ("hold", "given", "goal", "moved", "projected")),
        *((name, ctypes.c_void_p) for name in ("pieces", "scratch", "next")),
    ]


@dataclass(frozen=True, eq=False)
class Filters:
    """Sparse forms of the matrices between bins and bands; each bin touches two neighbouring bands at most.

    Args:
        bands: ``M``.
        own: shares of every bin in the bands.
        spread: shares of the bands in every bin.
    """

    bands: int
    own: Tensor
    spread: Tensor

    @classmethod
    def of(cls, own: Tensor, spread: Tensor) -> Filters:
        """From dense matrices.

        Args:
            own: of every bin's magnitude (or power) in the bands, shape ``[M, K]``, float32.
            spread: of the bands in every bin, shape ``[M, K]``, float32.

        Raises:
            ValueError: if a bin touches other bands.
        """
        return cls(len(own), _shares(own / 2), _shares(spread))  # of what is twice as large


def _shares(matrix: Tensor) -> Tensor:
    """``Share`` of ``csrc/spectrum.h`` for every column of ``[M, K]``, int32 ``[K, 3]``."""
    band = (matrix != 0).int().argmax(dim=0)  # [K]
    padded = F.pad(matrix, (0, 0, 0, 1))  # [M + 1, K]
    values = padded.gather(0, torch.stack([band, band + 1]))  # [2, K]
    if not torch.equal((values != 0).sum(dim=0), (matrix != 0).sum(dim=0)):
        raise ValueError("native consistency: expected each bin to touch two neighbouring bands at most")
    return torch.cat([band.int().unsqueeze(0), values.contiguous().view(torch.int32)]).t().contiguous()


@dataclass(frozen=True, eq=False)
class _Tables:
    """What the transform of one size needs: see ``Passes`` and ``Spectrum`` in ``csrc``."""

    radices: Tensor
    pass_twiddles: Tensor
    twiddles: Tensor
    places: Tensor


@functools.lru_cache(maxsize=8)
def _tables(n_fft: int) -> _Tables:
    half = n_fft // 2
    radices = plan(half)
    passes, size = [], half
    for radix in radices:
        passes.append(_turns(torch.arange(size // radix)[:, None] * torch.arange(1, radix), size))
        size //= radix
    twiddles = _turns(torch.arange(half // 2 + 1), n_fft)
    return _Tables(torch.tensor(radices, dtype=torch.int32), torch.cat(passes), twiddles, _places(half, radices))


def plan(size: int) -> list[int]:
    """Radices whose product is ``size``, or its part without prime factors above 7, in few passes.

    Twos are taken in eights, after as few fours as that takes. The last pass needs no twiddles and gets the largest.
    """
    twos = _power(size, 2)
    fours = -twos % 3 if twos > 1 else 0
    eights, two = divmod(twos - 2 * fours, 3)
    return sorted([2] * two + [4] * fours + [8] * eights + [odd for odd in (3, 5, 7) for _ in range(_power(size, odd))])


def _power(size: int, prime: int) -> int:
    """How often ``prime`` divides ``size``."""
    return 0 if size % prime else 1 + _power(size // prime, prime)


def _turns(steps: Tensor, size: int) -> Tensor:
    """``exp(-2 pi i steps / size)``, real and imaginary parts in turns, flat."""
    angle = steps.double().flatten() * (-2 * math.pi / size)
    return torch.stack([angle.cos(), angle.sin()], dim=-1).flatten().float()


def _places(size: int, radices: list[int]) -> Tensor:
    """Where each bin of a transform with decimation in frequency is found: its digits are reversed."""
    rest, places = torch.arange(size), torch.zeros(size, dtype=torch.int64)
    for radix in radices:
        size //= radix
        places += rest % radix * size
        rest //= radix
    return places.int()


def push(
    wav: Tensor,
    goal: Tensor,
    geometry: FrameGeometry,
    filters: Filters,
    *,
    iterations: int,
    momentum: float,
    limit: float,
    floor: float,
    ceiling: float = math.inf,
    squared: bool = False,
    hold: Tensor | None = None,
) -> Tensor:
    """Push a waveform towards bands.

    Args:
        wav: shape ``[B, N]``, float32, on the CPU.
        goal: natural logarithm of the wanted bands, shape ``[B, F, M]``.
        geometry: frame sizes, for which :func:`unavailable` is None.
        filters: between bins and bands.
        iterations: at least one.
        momentum, limit, hold: see :class:`~diffwave.mel.consistency.MelConsistency`.
        floor, ceiling: what bands are clamped to before their logarithm.
        squared: bands are sums of power; else of magnitudes.

    Returns:
        Waveform ``[B, N]``.

    Raises:
        MemoryError: if there is none left for the threads' intermediate values.
    """
    examples, frames, _ = goal.shape
    left, right = geometry.padding
    transform = FrameTransform(geometry, frames, wav.device, wav.dtype)
    analysis = transform.window
    synthesis = analysis / (2 * geometry.n_fft)  # the transforms multiply by 4 n_fft / 2
    weight = transform.energy.reciprocal()
    blocks = -(-frames // _LANES)
    goal = F.pad(goal / math.log(2), (0, 0, 0, blocks * _LANES - frames))
    goal = goal.view(examples, blocks, _LANES, -1).transpose(2, 3).contiguous()  # [B, blocks, M, 16]
    moved, projected = transform.pad(wav).contiguous(), wav.clone(memory_format=torch.contiguous_format)
    given = wav.contiguous()
    held = None if hold is None else hold.float().contiguous()
    pieces = torch.empty(examples, blocks, (_LANES - 1) * geometry.hop_length + geometry.n_fft)
    tables = _tables(geometry.n_fft)
    pointers = (tables.radices, tables.pass_twiddles, tables.twiddles, tables.places, filters.own, filters.spread)
    spectrum = _Spectrum(
        geometry.n_fft // 2,
        filters.bands,
        *(tensor.data_ptr() for tensor in pointers),
        limit / math.log(2),
        floor,
        ceiling,
        squared,
    )
    task = _Consistency(
        examples,
        frames,
        geometry.hop_length,
        geometry.n_fft,
        left,
        right,
        iterations,
        torch.get_num_threads(),
        transform.reflects,
        0 if hold is None else len(hold),
        spectrum,
        momentum,
        *(tensor.data_ptr() for tensor in (analysis, synthesis, weight)),
        None if held is None else held.data_ptr(),
        *(tensor.data_ptr() for tensor in (given, goal, moved, projected, pieces)),
    )
    if library().diffwave_consistency(ctypes.byref(task)):
        raise MemoryError(
            "native consistency: expected memory for the threads' intermediate values; there is none left"
        )
    return projected
