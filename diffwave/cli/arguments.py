"""Arguments that several commands share, and a parser whose complaints are one line."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import NoReturn

from diffwave.config.sampling import PLACES, SAMPLERS
from diffwave.errors import one_line
from diffwave.kernels.backend_names import BACKENDS, PRECISIONS


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


def checkpoint_argument(text: str) -> str:
    """The name of a packaged one or a folder; whether it holds a checkpoint is found out when it is read."""
    try:
        path_argument(text).expanduser().exists()
    except (OSError, RuntimeError) as error:  # an unknown ~user, a name too long
        raise argparse.ArgumentTypeError(f"expected a checkpoint folder; got {text!r} ({error})") from None
    return text


def steps_argument(text: str) -> int | str:
    """A positive number, or ``full``."""
    if text == "full":
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a positive number or 'full'; got {text!r}")


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


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add ``--checkpoint`` to a command."""
    parser.add_argument(
        "--checkpoint",
        type=checkpoint_argument,
        default="default",
        metavar="DIR",
        help="checkpoint folder, or the name of a packaged one (default: default)",
    )


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add to a command what the vocoder's ``synthesize`` can be told beside the seed."""
    add = parser.add_argument
    add("--steps", type=steps_argument, metavar="N|full", help="network calls (default: the checkpoint's)")
    add("--sampler", choices=SAMPLERS, help="default: the checkpoint's")
    consistency = "mel-consistency iterations on the result, 0 for the network alone (default: the checkpoint's)"
    add("--consistency", type=count_argument, metavar="N", help=consistency)
    at = "where else mel consistency works: nowhere, after every network call, or also before the first"
    add("--consistency-at", choices=PLACES, help=f"{at} (default: the checkpoint's)")
    refinements = "rounds of the refiner after that, 0 for none (default: the checkpoint's)"
    add("--refinements", type=count_argument, metavar="N", help=refinements)


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add ``--backend`` and ``--precision`` to a command; whether the machine has them is found out later."""
    backend = (
        "what runs the residual layers: native (C, for CPUs with AVX512-BF16), triton (for GPUs), reference (plain "
        "PyTorch, anywhere) or compiled (the reference through torch.compile: about half a minute to start); auto, the "
        "default, is the kernel made for the device, or the reference where that cannot run"
    )
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help=backend)
    precision = (
        "of the products in the residual layers; auto, the default, is bfloat16 with native and triton, which know no "
        "other, and float32 with the rest"
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help=precision)
