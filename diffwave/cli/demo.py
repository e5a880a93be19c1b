"""``diffwave demo``: speak the bundled utterance with the default checkpoint and score it."""

from __future__ import annotations

import argparse
from pathlib import Path

from diffwave.terminal.arguments import CommandParser, device_argument, path_argument


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave demo", description=__doc__)
    folder = "folder for utterance.wav, which is replaced (default: outputs/demo)"
    result.add_argument("--output", "-o", type=path_argument, default=Path("outputs/demo"), metavar="DIR", help=folder)
    result.add_argument("--device", type=device_argument, default="auto", metavar="auto|cpu|cuda", help="default: auto")
    return result


def main(arguments: list[str]) -> int:
    """Synthesize, write, and print where the file lies, its real-time factor and its PESQ."""
    options = parser().parse_args(arguments)
    from diffwave.rendering.demonstration import demonstrate

    done = demonstrate(options.output, options.device)
    print(f"reference        {done.reference}")
    print(f"output           {done.output}")
    print(f"audio            {done.audio_seconds:.2f} s in {done.wall_seconds:.2f} s on {done.device}")
    print(f"real-time factor {done.wall_seconds / done.audio_seconds:.3f}")
    print(f"PESQ-WB          {done.pesq_wb:.2f}")
    print(f"STOI             {done.stoi:.3f}")
    return 0
