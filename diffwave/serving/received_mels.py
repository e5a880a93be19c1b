"""Mels from strangers: ``.npy``, JSON and raw rows, with nothing believed that a header claims."""

from __future__ import annotations

import io
import json
import math
import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffwave.serving.limits import RefusedError

NPY_MAGIC = b"\x93NUMPY"
_VERSIONS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# numpy reads the header with ast.literal_eval, and CPython 3.11 counts its depth for all threads together: if the
# collector of garbage lets another thread run in between, it ends in a SystemError (python/cpython#106905).
_PARSING = threading.Lock()
_REAL = "fiu"
_WIDEST = 8  # bytes; long doubles are another format on every machine


def mel_from_npy(data: bytes) -> Tensor:
    """A mel ``[M, F]`` in float32 from a ``.npy`` file in memory (a leading axis of length 1 is dropped).

    The header is compared with the bytes that follow it before anything is allocated, and nothing is unpickled.

    Raises:
        RefusedError: if it is no array of real numbers of that shape.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        with _PARSING:
            shape, fortran, dtype = _VERSIONS[version](file, max_header_size=10_000)
    except Exception as error:  # a damaged header fails in the parser, the tokenizer or the table of versions
        raise RefusedError(422, f"expected a numpy array; its header cannot be read ({_brief(error)})") from None
    if dtype.hasobject:
        raise RefusedError(422, "expected a numpy array of numbers; it holds pickled objects, which are never loaded")
    if dtype.kind not in _REAL or dtype.itemsize > _WIDEST:
        raise RefusedError(422, f"expected a numpy array of real numbers; got {_brief(dtype)}")
    there = len(data) - file.tell()
    if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != there:
        raise RefusedError(
            422, f"expected as many bytes as the numpy header says, shape {_brief(list(shape))}; got {there}"
        )
    array = np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if fortran else "C")
    return _as_mel(array)


def mel_from_json(data: bytes) -> Tensor:
    """A mel ``[M, F]`` in float32 from ``{"mel": [[...], ...]}``, one list for each band.

    Raises:
        RefusedError: if it is anything else.
    """
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RefusedError(422, f"expected JSON; {_brief(error)}") from None
    if not isinstance(document, dict) or set(document) != {"mel"}:
        raise RefusedError(422, 'expected JSON of the form {"mel": [[...], ...]}, one list for each band')
    try:
        array = np.asarray(document["mel"])
    except (ValueError, OverflowError, RecursionError) as error:
        raise RefusedError(422, f"mel: expected lists of equal length; {_brief(error)}") from None
    if array.dtype.kind not in _REAL:
        raise RefusedError(422, "mel: expected lists of numbers")
    return _as_mel(array)


class Rows:
    """Mel frames that arrive as raw numbers, little-endian float32, one frame ``[M]`` after the other.

    Args:
        bands: ``M``.
    """

    def __init__(self, bands: int) -> None:
        self._bands = bands
        self._rest = b""

    def add(self, data: bytes) -> Tensor:
        """The frames that are complete now, ``[M, F]``; ``F`` may be 0."""
        data = self._rest + data
        whole = len(data) - len(data) % (4 * self._bands)
        self._rest = data[whole:]
        frames = np.frombuffer(data[:whole], "<f4").reshape(-1, self._bands)
        return torch.from_numpy(np.array(frames.T, dtype=np.float32, order="C"))

    def end(self) -> None:
        """Refuse a body that ends in the middle of a frame."""
        if self._rest:
            raise RefusedError(
                422, f"expected frames of {4 * self._bands} bytes; the last one has {len(self._rest)} (cut off?)"
            )


def _as_mel(array: np.ndarray) -> Tensor:
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2:
        raise RefusedError(422, f"expected a mel [bands, frames]; got shape {_brief(list(array.shape))}")
    with np.errstate(over="ignore"):  # what does not fit into float32 becomes infinite and is refused as that
        return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


def _brief(what: object) -> str:
    """One line of at most 160 characters."""
    return " ".join(str(what).split())[:160]
