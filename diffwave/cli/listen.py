"""``diffwave listen export|serve|analyze``: listening tests."""

from __future__ import annotations

import importlib
import sys

# subcommand -> (module, what it does); modules are imported only when called, so that --help is instant.
COMMANDS = {
    "export": ("diffwave.cli.listen_export", "make a test from folders of audio"),
    "serve": ("diffwave.cli.listen_serve", "run a test on this machine and collect the answers"),
    "analyze": ("diffwave.cli.listen_analyze", "say what the answers mean"),
}


def usage() -> str:
    """The text of ``diffwave listen --help``."""
    lines = [f"  {name:<16}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: diffwave listen COMMAND [ARGUMENTS]",
            "",
            "Listening tests: mushra, acr, ab, cmos, abx.",
            "",
            "commands:",
            *lines,
            "",
            "diffwave listen COMMAND --help explains a command.",
        ]
    )


def main(arguments: list[str]) -> int:
    """Run a subcommand and return its exit code; what a user did wrong becomes one line that names it."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    name = arguments[0]
    if name not in COMMANDS:
        print(f"diffwave listen: expected a command ({', '.join(COMMANDS)}); got {name!r}", file=sys.stderr)
        return 2
    try:
        code: int = importlib.import_module(COMMANDS[name][0]).main(arguments[1:])
    except Exception as error:
        from diffwave.errors import UserError, one_line

        if not isinstance(error, UserError | ImportError):
            raise
        print(f"diffwave listen {name}: {one_line(str(error))}", file=sys.stderr)
        return 2
    return code
