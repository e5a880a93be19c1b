"""Arguments that several commands share."""

from __future__ import annotations

import argparse

from diffwave.config.sampling import PLACES, SAMPLERS
from diffwave.kernels.backend_names import BACKENDS, PRECISIONS
from diffwave.terminal.arguments import count_argument, path_argument


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
