"""``diffwave listen serve``: show a listening test in a lab and collect the answers on disk."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from diffwave.terminal.arguments import CommandParser, path_argument, port_argument

if TYPE_CHECKING:
    from diffwave.listening.answers import AnswerStore


def main(arguments: list[str]) -> int:
    """Serve until interrupted; returns 0."""
    options = parser().parse_args(arguments)
    from diffwave.listening.lab_server import open_server
    from diffwave.web.addresses import is_loopback

    server = open_server(options.folder, (options.host, options.port), options.results)
    # A service manager ends a server with SIGTERM; it is Ctrl-C for those without a keyboard.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        print(f"listening test: {server.url}", f"answers go to:  {server.store.table}", sep="\n", flush=True)
        if not is_loopback(options.host):
            print(
                f"diffwave listen serve: everybody who reaches {options.host}:{server.server_port} over the network "
                "can take this test and send answers, without encryption and without a password",
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
