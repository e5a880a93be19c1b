"""What a user did wrong, and how it is told in one line."""

from __future__ import annotations


class UserError(Exception):
    """Its message is written for the user, in one line; every other exception is a defect and keeps its traceback."""


class InputError(UserError, ValueError):
    """An input that cannot become an output; the message names it."""


class TrainingError(UserError, RuntimeError):
    """The run cannot go on; the message says why and where the last good checkpoint is."""


def one_line(text: str) -> str:
    r"""Make ``text`` fit on one line of a terminal.

    File names may hold line breaks, terminal commands and bytes that are no characters; they are shown escaped.

    >>> one_line("two words\n")
    'two words\\n'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason(error: OSError) -> str:
    """What the operating system said, without the number and the path."""
    return error.strerror or str(error) or type(error).__name__
