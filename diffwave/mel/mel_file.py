"""Mel files, read without unpickling anything: ``.npy`` and ``.npz`` (numpy), ``.pt`` (a tensor saved by torch).

An ``.npz`` may say what its mel is: ``mel_convention``, a name or the JSON of a convention, ``sample_rate`` and
``hop_length`` beside ``mel``.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffwave.config import ConfigError, MelConvention
from diffwave.config.conventions import convention_from_json, named_convention
from diffwave.errors import InputError
from diffwave.mel.recognition import looks_like
from diffwave.mel.spectrogram import MelSpectrogram

_PICKLED = "it holds pickled Python objects, which are never loaded"
# Part of a message of numpy or torch -> what it means here.
_PLAIN = {
    "mmap length": "its header claims more than the file holds (truncated file)",
    "Python objects in dtype": _PICKLED,
    "pickled (object) data": _PICKLED,
    "Object arrays cannot be loaded": _PICKLED,
    "Weights only load failed": _PICKLED,
    "TorchScript archive": "it is a TorchScript archive",
}


_ABOUT = ("mel_convention", "sample_rate", "hop_length")  # what an .npz may hold beside a mel
_DEFLATED = 1032  # what DEFLATE can make of a byte, at most


@dataclass(frozen=True, eq=False)
class MelFile:
    """What a file holds.

    Args:
        path: of the file.
        mel: ``[M, F]``, or ``[F, M]`` where its convention has it so; in float32.
        convention: that it carries; None if it does not say.
        numbers: of ``sample_rate`` and ``hop_length``, those that it carries.
    """

    path: Path
    mel: Tensor
    convention: MelConvention | None = None
    numbers: dict[str, float] = field(default_factory=dict)

    def read_as(self, assumed: MelConvention, named: bool) -> MelConvention:
        """The convention of its mel: its own, or else the one that is assumed.

        Args:
            assumed: what the command or the checkpoint says.
            named: whether somebody asked for it.

        Raises:
            InputError: if the file says something else than what was asked for, or than what is assumed.
        """
        carried = self.convention or assumed
        if carried.mel == assumed.mel:
            found = replace(assumed, axes=carried.axes)
        elif named:
            raise InputError(
                f"{self.path}: expected mels of {assumed.name} ({assumed.mel.brief()}), as asked for; "
                f"it carries {carried.name} ({carried.mel.brief()})"
            )
        else:
            found = carried
        for name, value in self.numbers.items():
            if value != getattr(found.mel, name):
                raise InputError(
                    f"{self.path}: expected {name} {getattr(found.mel, name)}, of {found.name}; it carries {value:g} "
                    "(--mel names others)"
                )
        return found


def received(mel: Tensor, convention: MelConvention, front_end: MelSpectrogram) -> Tensor:
    """Make sure of a mel from a file or a request; all that come from elsewhere go through here.

    Args:
        mel: shape ``[M, F]``, or ``[F, M]`` where the convention has it so.
        convention: what it should be.
        front_end: of that convention.

    Returns:
        Shape ``[M, F]``.

    Raises:
        ValueError: as :meth:`MelSpectrogram.check`, and for a square one whose axes cannot be told apart.
    """
    if convention.axes == "frames-first" and mel.ndim == 2 and mel.shape[1] == convention.mel.n_mels:
        if mel.shape[0] == mel.shape[1]:
            raise ValueError(
                f"expected a mel [frames, {mel.shape[1]} bands] of {convention.name}; got shape {list(mel.shape)}, "
                "which may be either way round (one frame more would tell)"
            )
        mel = mel.t().contiguous()
    front_end.check(mel.unsqueeze(0))
    return mel


def resemblance(mel: Tensor, convention: MelConvention) -> str:
    """What to say of a mel ``[M, F]`` that looks like one of another convention than it is read as; empty if not."""
    named = looks_like(mel.unsqueeze(0), convention.mel)
    return f"looks like {named} rather than {convention.name}: --mel {named.split()[0]} names it" if named else ""


def read_mel(path: Path) -> MelFile:
    """Read a mel (a leading axis of length 1 is dropped), and what the file says of it.

    Raises:
        InputError: if the file is not an array of real numbers with two axes, or carries what is no convention.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a mel; there is no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: expected a mel; the file is empty (0 bytes)")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        file = _read_npz(path)
    else:
        file = MelFile(path, _read_npy(path) if suffix == ".npy" else _read_pt(path))
    mel = file.mel
    if mel.ndim == 3 and mel.shape[0] == 1:
        mel = mel[0]
    if mel.ndim != 2:
        raise InputError(f"{path}: expected a mel [bands, frames]; got shape {list(mel.shape)}")
    return replace(file, mel=mel)


def names_convention(path: Path) -> bool:
    """Whether a file says what its mel is; False for one that cannot be read."""
    if path.suffix.lower() != ".npz":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return "mel_convention.npy" in archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _read_npz(path: Path) -> MelFile:
    try:
        arrays = _arrays(path)
    except InputError:
        raise
    except Exception as error:  # zip archives fail in as many ways as arrays
        raise InputError(f"{path}: expected numpy arrays of numbers; {_explain(error)}") from None
    mels = [name for name in arrays if name not in _ABOUT]
    name = "mel" if "mel" in mels else mels[0] if len(mels) == 1 else ""
    if not name:
        raise InputError(f"{path}: expected an array called mel; got {', '.join(map(repr, mels))[:80] or 'none'}")
    return MelFile(path, _numbers(arrays[name], path), _carried(arrays, path), _said(arrays, path))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            # What the archive claims is compared with its size before memory is taken for it.
            if member.file_size > _DEFLATED * min(member.compress_size + 1, path.stat().st_size):
                raise InputError(f"{path}: expected a numpy archive; {member.filename} claims more than it can hold")
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = header[version](stream)
                if math.prod(shape) * dtype.itemsize > member.file_size:
                    raise InputError(
                        f"{path}: expected a numpy archive; {member.filename}'s header claims more than it holds"
                    )
            with archive.open(member) as stream:
                arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(stream, allow_pickle=False)
    return arrays


def _carried(arrays: dict[str, np.ndarray], path: Path) -> MelConvention | None:
    value = arrays.get("mel_convention")
    if value is None:
        return None
    if value.dtype.kind not in "US" or value.size != 1:
        raise InputError(f"{path}: mel_convention: expected a name or JSON; got {value.dtype} {list(value.shape)}")
    item = value.reshape(()).item()
    text = item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)
    try:
        if text.lstrip().startswith("{"):
            return convention_from_json(text, f"{path}: mel_convention", path.name)
        return named_convention(text, "the name of a convention or JSON as mel_convention")
    except ConfigError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def _said(arrays: dict[str, np.ndarray], path: Path) -> dict[str, float]:
    numbers = {}
    for name in _ABOUT[1:]:
        if name in arrays:
            value = arrays[name]
            if value.dtype.kind not in "fiu" or value.size != 1:
                raise InputError(f"{path}: {name}: expected a number; got {value.dtype} {list(value.shape)}")
            numbers[name] = float(value.reshape(()).item())
    return numbers


def _read_npy(path: Path) -> Tensor:
    try:
        # Mapped, not read: a header that claims more than the file holds is refused before memory is taken for it.
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except Exception as error:  # a damaged header fails in the parser, the tokenizer or the memory map
        raise InputError(f"{path}: expected a numpy array of numbers; {_explain(error)}") from None
    return _numbers(array, path)


def _numbers(array: object, path: Path) -> Tensor:
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
