"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from diffwave.errors import InputError, reason

_MARK = "unfinished-"
# .model.safetensors.unfinished-k3_x9a0b.safetensors
_TEMPORARY = re.compile(rf"\..{{1,40}}\.{_MARK}[a-z0-9_]{{8}}(\.\w+)?")


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; at the end sync it and rename it to ``path``.

    If the block raises, the temporary file is removed and ``path`` stays as it was. A link stays one: the file that it
    leads to is replaced.

    Raises:
        OSError: if the folder cannot be written, or ``path`` is a device, a pipe or the like, which renaming would
            destroy.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "not a regular file", str(path))
    # File systems take names of up to 255 bytes: the temporary one must not be longer than the real one.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.{_MARK}", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes files that only the owner can read; take the usual permissions instead.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process has left in ``folder``; nobody else may be writing there."""
    for path in folder.glob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` to ``path`` atomically.

    What serializes into a file by itself, in C++ or Rust, tells of a full disk in errors of its own; so it should
    serialize into memory, and be written here.

    Raises:
        OSError: if there is no room or no permission.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def try_out(folder: Path, made: str = "--output") -> None:
    """Make a folder and write to it: better now than after long work.

    Raises:
        InputError: if that fails; ``made`` is what the folder was named with.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{made} {folder}: expected a folder that can be written; {reason(error)}") from None


def check_target(path: Path, force: bool) -> None:
    """Complain of a file that cannot be written before the work, not after.

    Raises:
        InputError: if it is no regular file, its folder is not there, or it is there and may not be replaced.
    """
    if path.is_dir() or not path.parent.is_dir() or (path.exists() and not path.is_file()):
        raise InputError(f"{path}: expected a regular file in a folder that exists")
    if os.path.lexists(path) and not force:
        raise InputError(f"{path}: expected a file that is not there yet; --force replaces it")
