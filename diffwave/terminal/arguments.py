"""A parser whose complaints are one line, and the types of arguments that commands and recipes share."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import NoReturn

from diffwave.errors import one_line


class CommandParser(argparse.ArgumentParser):
    """A parser that answers a mistake with one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, where the explanation is, and exit with 2."""
        self.exit(2, f"{self.prog}: {one_line(message)}; {self.prog} --help explains\n")


def path_argument(text: str) -> Path:
    """A file or folder; an empty text is an unset shell variable, not the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path; got an empty argument")
    return Path(text)


def count_argument(text: str) -> int:
    """0 or a positive number."""
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"expected 0 or a positive number; got {text!r}")


def seconds_argument(text: str) -> float:
    """A positive, finite number of seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError(f"expected a positive number of seconds; got {text!r}")
    return seconds


def port_argument(text: str) -> int:
    """A port; 0 takes a free one."""
    if text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535; got {text!r}")


def device_argument(text: str) -> str:
    """A device's name; whether the machine has it is found out when it is used."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", text):
        raise argparse.ArgumentTypeError(f"expected auto, cpu, cuda or cuda:NUMBER; got {text!r}")
    return text


def named_folder_argument(text: str) -> tuple[str, Path]:
    """``NAME=DIR``."""
    name, separator, folder = text.partition("=")
    if not (name and separator and folder):
        raise argparse.ArgumentTypeError(f"expected NAME=DIR; got {text!r}")
    return name, Path(folder)
