"""Files that are either whole or not there, and which names of two folders mean the same."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

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


def match_names(references: Collection[str], names: Iterable[str]) -> dict[str, str]:
    """Which reference each name belongs to; names that belong to none are left out.

    Names are relative paths without suffix. Where none of them is a reference's, the last parts of the paths are
    compared, as far as they are there once on either side: ``61/70968/x`` against ``x``.
    """
    names = list(names)
    same = {name: name for name in names if name in references}
    if same:
        return same
    ours, theirs = _by_last_part(references), _by_last_part(names)
    return {name: ours[last] for last, name in theirs.items() if last in ours}


def _by_last_part(names: Iterable[str]) -> dict[str, str]:
    """Names by the last part of their path, where it is there once."""
    lasts = {name: PurePosixPath(name).name for name in names}
    counts = Counter(lasts.values())
    return {last: name for name, last in lasts.items() if counts[last] == 1}
