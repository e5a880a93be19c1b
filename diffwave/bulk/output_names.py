"""Names of outputs: a function of the utterance's id, and never outside the output folder."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from diffwave.errors import UserError

_LONGEST = 200  # bytes of a part; file systems take 255, and the suffix and temporary names need some


class BulkError(UserError, ValueError):
    """A corpus that cannot be synthesized as asked for; the message says what was expected."""


def output_name(identity: str, file_format: str) -> str:
    """Where an utterance's audio lies below the output folder.

    >>> output_name("103/1240/103-1240-0000", "flac")
    '103/1240/103-1240-0000.flac'
    """
    return f"{identity}.{file_format}"


def check_id(identity: str) -> str:
    """Why an id cannot name a file below the output folder, in words; empty if it can.

    >>> check_id("a/b.c")
    ''
    >>> check_id("../b")
    "got '..' in it"
    """
    if not identity:
        return "got an empty one"
    if identity.startswith("/"):
        return "got an absolute path"
    if "\\" in identity or not identity.isprintable():
        return "got a backslash or a character that cannot be printed"
    for part in identity.split("/"):
        if part == "..":
            return "got '..' in it"
        if not part or part.startswith("."):
            return "got a part that is empty or begins with a dot"
        if len(part.encode()) > _LONGEST:
            return f"got a part of {len(part.encode())} bytes, more than {_LONGEST}"
    return ""


def check_ids(places: Iterable[tuple[str, str]], file_format: str) -> None:
    """Refuse ids that would leave the output folder, or share a file in it.

    Args:
        places: id of each utterance, and where it was found, for messages.
        file_format: suffix of the outputs.

    Raises:
        BulkError: for the first id that will not do. Ids that differ only in case, or in how Unicode composes a letter,
            are one file on some file systems, and so are refused on all.
    """
    files: dict[str, tuple[str, str]] = {}
    for identity, place in places:
        reason = check_id(identity)
        if reason:
            raise BulkError(f"{place}: expected an id that names a file in the output folder; {reason}: {identity!r}")
        key = _folded(output_name(identity, file_format))
        if key in files:
            other, where = files[key]
            same = "there twice" if other == identity else f"the same file as {other!r} where case does not count"
            raise BulkError(f"{place}: expected an id for each utterance; {identity!r} is {same} (see {where})")
        files[key] = identity, place
    for identity, place in files.values():
        for folder in PurePosixPath(_folded(output_name(identity, file_format))).parents:
            if str(folder) in files:
                other = files[str(folder)][0]
                raise BulkError(f"{place}: {identity!r} needs a folder where the output of {other!r} would lie")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
