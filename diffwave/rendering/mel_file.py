"""Mel files: ``.npy`` (numpy) and ``.pt`` (a tensor saved by torch), read without unpickling anything."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffwave.errors import InputError

_PICKLED = "it holds pickled Python objects, which are never loaded"
# Part of a message of numpy or torch -> what it means here.
_PLAIN = {
    "mmap length": "its header claims more than the file holds (truncated file)",
    "Python objects in dtype": _PICKLED,
    "pickled (object) data": _PICKLED,
    "Weights only load failed": _PICKLED,
    "TorchScript archive": "it is a TorchScript archive",
}


def read_mel(path: Path) -> Tensor:
    """Read a mel ``[M, F]`` in float32 (a leading axis of length 1 is dropped).

    Raises:
        InputError: if the file is not an array of real numbers of that shape.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a mel; there is no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: expected a mel; the file is empty (0 bytes)")
    mel = _read_npy(path) if path.suffix.lower() == ".npy" else _read_pt(path)
    if mel.ndim == 3 and mel.shape[0] == 1:
        mel = mel[0]
    if mel.ndim != 2:
        raise InputError(f"{path}: expected a mel [bands, frames]; got shape {list(mel.shape)}")
    return mel


def _read_npy(path: Path) -> Tensor:
    try:
        # Mapped, not read: a header that claims more than the file holds is refused before memory is taken for it.
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except Exception as error:  # a damaged header fails in the parser, the tokenizer or the memory map
        raise InputError(f"{path}: expected a numpy array of numbers; {_explain(error)}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        kind = getattr(array, "dtype", type(array).__name__)
        raise InputError(f"{path}: expected a numpy array of real numbers; got {kind}")
    # float64 and big-endian arrays are both fine here; torch takes neither integer kind nor byte order for granted.
    with np.errstate(over="ignore"):  # what does not fit into float32 becomes infinite and is refused as that
        return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


def _read_pt(path: Path) -> Tensor:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of here (TorchScript archives) it refuses as well
            value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader raises nearly anything for a damaged file
        raise InputError(f"{path}: expected a tensor saved by torch; {_explain(error)}") from None
    if not isinstance(value, Tensor):
        raise InputError(f"{path}: expected one tensor; got {type(value).__name__}")
    plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
    if not plain or value.is_complex() or value.dtype == torch.bool:
        raise InputError(f"{path}: expected a dense tensor of real numbers; got {value.dtype} on {value.device.type}")
    return value.detach().float()


def _explain(error: Exception) -> str:
    """A reader's complaint in plain words, where it is known; else its first sentence."""
    message = str(error)
    plain = next((answer for part, answer in _PLAIN.items() if part in message), "")
    first = message.split(". ")[0].split("\n")[0][:160] or type(error).__name__
    return plain or f"{first} (damaged or truncated?)"
