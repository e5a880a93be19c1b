"""Numbers with their nouns, for messages."""

from __future__ import annotations


def counted(count: int, one: str, several: str = "") -> str:
    """A number and what it counts, in the plural (``one`` with an s, if none is given) unless it is 1.

    >>> counted(1, "file"), counted(0, "answer"), counted(2, "note is", "notes are")
    ('1 file', '0 answers', '2 notes are')
    """
    return f"{count} {one if count == 1 else several or one + 's'}"
