"""Files that ``torch.save`` wrote somewhere else, opened without running what they may hold.

A pickle is a program. ``torch.load(weights_only=True)`` knows a few harmless instructions and refuses all others; what
is refused is told in one line.
"""

from __future__ import annotations

import collections
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffwave.checkpoint.folder import CheckpointError

# Classes of other projects that are dictionaries by another name: they are read as one, and their code is not needed.
_DICTIONARIES = ("diffwave.params.AttrDict",)
# torch.save stores without compression; what grows on reading was made to fill the memory.
_LARGEST_GROWTH = 2
_LARGEST_FILE = 8 << 30
_REFUSED = re.compile(r"Unsupported (?:global: GLOBAL|class) (\S+)|unsupported GLOBAL (\S+)")
_PREFIXES = ("_orig_mod.", "module.")  # of torch.compile, and of DataParallel and DistributedDataParallel


def load_archive(path: Path) -> Any:
    """What ``torch.save`` wrote: tensors, numbers, texts, lists and dictionaries.

    Args:
        path: of the file.

    Raises:
        CheckpointError: if it cannot be read, is damaged or oversized, or holds anything else.
    """
    _check_size(path)
    stand_ins: list[Any] = [(collections.OrderedDict, name) for name in _DICTIONARIES]
    try:
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles by other versions
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle can make the reader fail in any way
        raise CheckpointError(f"{path}: {_explain(error)}") from None


def _check_size(path: Path) -> None:
    try:
        size = path.stat().st_size
        if not path.is_file() or size == 0:
            raise CheckpointError(f"{path}: expected a file that torch.save wrote; it is empty or no file")
        if size > _LARGEST_FILE:
            raise CheckpointError(f"{path}: expected at most {_LARGEST_FILE >> 30} GiB; got {size >> 30} GiB")
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read; {error.strerror or error}") from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path}: expected a file that torch.save wrote; {error} (truncated?)") from None
    if unpacked > _LARGEST_GROWTH * size:
        raise CheckpointError(
            f"{path}: expected what torch.save stores uncompressed; got {size} bytes that unpack to {unpacked}"
        )


def _explain(error: Exception) -> str:
    """Why a file could not be opened, in one line; torch's own text is a page on how to open it unsafely."""
    refused = _REFUSED.search(str(error))
    if refused:
        name = refused.group(1) or refused.group(2)
        return f"expected tensors and plain values alone; got {name}, which would have to be run and was not"
    words = " ".join(str(error).split()) or type(error).__name__
    return f"expected a file that torch.save wrote, whole; {words[-160:]} (truncated, or of another kind?)"


def named_tensors(found: Any, path: Path, what: str) -> dict[str, Tensor]:
    """A state dict, its names without what wrappers put before them.

    Args:
        found: what a file held there.
        path: of the file, for messages.
        what: how messages call it.

    Raises:
        CheckpointError: if it is none, or holds anything but floating-point tensors.
    """
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f"{path}: expected {what}, names with tensors; got {_kind(found)}")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or not value.is_floating_point():
            raise CheckpointError(
                f"{path}: expected {what}, names with tensors of floats; got {name!r}: {_kind(value)}"
            )
        if value.layout != torch.strided or value.device.type != "cpu":
            raise CheckpointError(f"{path}: expected {what}, dense tensors; got {name!r} of layout {value.layout}")
    return _without_prefixes(found)


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES * 2:  # either may stand before the other
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {str(value.dtype).removeprefix('torch.')}"
    return "an empty dictionary" if value == {} else type(value).__name__
