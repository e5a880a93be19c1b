"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from dataclasses import fields

from diffwave.config import ConfigError, MelConvention, SynthesisOptions, check_speakable, mel_convention
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


def mel_argument(text: str) -> MelConvention:
    """The name of a convention, or a JSON file of one; known to be one that can be spoken."""
    try:
        convention = mel_convention(text)
        check_speakable(convention)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return convention


def add_mel(parser: argparse.ArgumentParser, text: str = "") -> None:
    """Add ``--mel`` to a command; ``text`` says what it does there."""
    text = text or "convention of the mels, and rate of the audio (default: the checkpoint's; diffwave mels lists them)"
    parser.add_argument("--mel", type=mel_argument, metavar="NAME|FILE.json", help=text)


def add_sampling(parser: argparse.ArgumentParser, *left_out: str) -> None:
    """Add an option for each field of :class:`SynthesisOptions` but the seed and those that are ``left_out``."""
    for each in fields(SynthesisOptions):
        if each.name in ("seed", *left_out):
            continue
        flag, text = "--" + each.name.replace("_", "-"), each.metadata["help"]
        if choices := each.metadata.get("choices"):
            parser.add_argument(flag, choices=choices, help=text)
        else:
            kind = steps_argument if each.name == "steps" else count_argument
            parser.add_argument(flag, type=kind, metavar=each.metadata["metavar"], help=text)


def options_of(namespace: argparse.Namespace) -> SynthesisOptions:
    """What was asked for, as far as the command knows of it."""
    known = (each.name for each in fields(SynthesisOptions))
    return SynthesisOptions(**{name: getattr(namespace, name) for name in known if hasattr(namespace, name)})


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
