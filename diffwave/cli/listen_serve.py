"""``diffwave listen serve``: show a listening test in a lab and collect the answers on disk."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from diffwave.errors import InputError, reason
from diffwave.terminal.arguments import CommandParser, path_argument, port_argument

if TYPE_CHECKING:
    from diffwave.listening.answers import AnswerStore
    from diffwave.listening.lab_server import ListeningServer


def main(arguments: list[str]) -> int:
    """Serve until interrupted; returns 0."""
    args = parser().parse_args(arguments)
    from diffwave.web.addresses import is_loopback

    server = _open_server(args)
    # A service manager ends a server with SIGTERM; it is Ctrl-C for those without a keyboard.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        print(f"listening test: {server.url}", f"answers go to:  {server.store.table}", sep="\n", flush=True)
        if not is_loopback(args.host):
            print(
                f"diffwave listen serve: everybody who reaches {args.host}:{server.server_port} over the network can "
                "take this test and send answers, without encryption and without a password",
                file=sys.stderr,
            )
        print("Ctrl-C ends it", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        print(_summary(server.store))
    finally:
        signal.signal(signal.SIGTERM, before)
        server.server_close()
        server.store.close()
    return 0


def _open_server(args: argparse.Namespace) -> ListeningServer:
    """Read the page, bind the port, take over earlier answers; in this order a mistake leaves no folder behind."""
    from diffwave.listening.lab_server import ListeningServer, read_page
    from diffwave.listening.sheet_page import PageError

    folder = args.results or default_results(args.folder)
    if folder.resolve().is_relative_to(args.folder.resolve()):
        raise InputError(f"--results {folder}: expected a folder outside the test; a new export would delete answers")
    try:
        page, sheet = read_page(args.folder)
        return ListeningServer((args.host, args.port), page, lambda: _open_store(folder, sheet))
    except PageError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(f"{args.host}:{args.port}: expected a free port of this machine; {reason(error)}") from None


def _open_store(folder: Path, sheet: dict[str, Any]) -> AnswerStore:
    from diffwave.listening.answers import AnswerError, AnswerStore

    try:
        return AnswerStore(folder, sheet)
    except AnswerError as error:
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(f"{folder}: expected a folder that can be written; {reason(error)}") from None


def default_results(folder: Path) -> Path:
    """Where answers go: beside the exported folder.

    Not inside: a new export replaces that folder, and the folder is what gets sent around.
    """
    whole = folder.resolve()
    return whole.with_name(f"{whole.name}-results")


def _summary(store: AnswerStore) -> str:
    from diffwave.listening.words import counted

    rows = store.rows
    sessions = counted(len({row["session"] for row in rows}), "listening session")
    return f"\n{counted(len(rows), 'answer')} of {sessions} in {store.table}"


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    result = CommandParser(prog="diffwave listen serve", description=__doc__)
    result.add_argument("folder", metavar="DIR", type=path_argument, help="folder that `diffwave listen export` wrote")
    result.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine only)"
    )
    result.add_argument("--port", type=port_argument, default=8000, help="port; 0 takes a free one (default: 8000)")
    result.add_argument(
        "--results",
        type=path_argument,
        metavar="FOLDER",
        help="where answers are kept (default: beside DIR, DIR-results)",
    )
    return result
