"""Mel files: ``.npy`` (numpy) and ``.pt`` (a tensor saved by torch), read without unpickling anything."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffwave.cli.plan import InputError


def read_mel(path: Path) -> Tensor:
    """Read a mel ``[M, F]`` (a leading axis of length 1 is dropped).

    Raises:
        InputError: if the file is not an array of real numbers of that shape.
    """
    mel = _read_npy(path) if path.suffix.lower() == ".npy" else _read_pt(path)
    if mel.ndim == 3 and mel.shape[0] == 1:
        mel = mel[0]
    if mel.ndim != 2:
        raise InputError(f"{path}: expected a mel [bands, frames]; got shape {list(mel.shape)}")
    return mel.float()


def _read_npy(path: Path) -> Tensor:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: expected a numpy array of numbers; {_first_line(error)}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise InputError(f"{path}: expected a numpy array of real numbers; got {getattr(array, 'dtype', type(array))}")
    # float64 and big-endian arrays are both fine here; torch takes neither integer kind nor byte order for granted.
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _read_pt(path: Path) -> Tensor:
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: expected a tensor saved by torch; {_first_line(error)}") from None
    if not isinstance(value, Tensor) or value.is_complex():
        raise InputError(f"{path}: expected one real tensor; got {type(value).__name__}")
    return value.detach()


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:160] if lines else type(error).__name__
