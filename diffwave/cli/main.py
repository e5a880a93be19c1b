"""Entry point: ``diffwave COMMAND ...``.

A user's mistake is one line on stderr and exit code 2, never a traceback.
"""

from __future__ import annotations

import importlib
import sys

import diffwave

# command -> (module, what it does); modules are imported only when called, so that --help is instant.
COMMANDS = {
    "synthesize": ("diffwave.cli.synthesize", "turn recordings or mels into speech"),
    "train": ("diffwave.cli.train", "train a model: hydra overrides such as experiment=debug_cpu data.root=FOLDER"),
    "show-diffusion": ("diffwave.cli.show_diffusion", "draw the forward and reverse process of an utterance"),
    "demo": ("diffwave.cli.demo", "synthesize the bundled utterance and score it"),
}


def usage() -> str:
    """The text of ``diffwave --help``."""
    lines = [f"  {name:<16}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: diffwave COMMAND [ARGUMENTS]",
            "",
            "A diffusion vocoder: mel spectrograms to speech.",
            "",
            "commands:",
            *lines,
            "",
            "diffwave COMMAND --help explains a command; diffwave --version prints the version.",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"diffwave {diffwave.__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        print(f"diffwave: expected a command ({', '.join(COMMANDS)}); got {name!r}", file=sys.stderr)
        return 2
    return run(name, arguments[1:])


def run(name: str, arguments: list[str]) -> int:
    """Run one command; what a user did wrong becomes one line."""
    from diffwave.cli.errors import user_errors

    module = importlib.import_module(COMMANDS[name][0])
    try:
        code: int = module.main(arguments)
    except user_errors() as error:
        print(f"diffwave {name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"diffwave {name}: interrupted", file=sys.stderr)
        return 130
    return code
