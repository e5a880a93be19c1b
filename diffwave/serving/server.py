"""The service as a process: its port, its connections, its end."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable

import uvicorn

from diffwave.errors import InputError, reason
from diffwave.serving.app import create_app
from diffwave.serving.connection import GuardedProtocol
from diffwave.serving.service import Service
from diffwave.web.addresses import is_loopback

_KEEP_ALIVE_SECONDS = 30
_MOST_CONNECTIONS = 512


class Server(uvicorn.Server):
    """A uvicorn server that says when it is ready.

    Args:
        config: of uvicorn.
        ready: is called once requests are answered.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()


def open_port(host: str, port: int) -> socket.socket:
    """A socket bound to an address of this machine; port 0 takes a free one.

    It does not listen yet: who connects before the model is loaded should be refused, not kept waiting.

    Raises:
        InputError: if there is no such address, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except (OSError, UnicodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "no name of a host"
        raise InputError(f"{host}:{port}: expected an address of this machine and a free port; {why}") from None
    return bound


def url_of(bound: socket.socket) -> str:
    """Where a client on this machine finds the service."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def serve(
    service: Service, bound: socket.socket, ready: Callable[[], None], shutdown_seconds: int, access_log: bool = False
) -> None:
    """Answer requests until SIGTERM or Ctrl-C; what runs then is finished first.

    Args:
        service: what does the work.
        bound: see :func:`open_port`.
        ready: is called once requests are answered.
        shutdown_seconds: for what runs at the end.
        access_log: log every request.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once everything has ended.
    """
    names = None
    if is_loopback(str(bound.getsockname()[0])):
        names = {"localhost", socket.gethostname().lower()}
    config = uvicorn.Config(
        create_app(service, names),
        http=GuardedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,  # uvicorn's would write to stdout
        access_log=access_log,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=shutdown_seconds,
    )
    # Startup and shutdown are told by the command; a damaged request is answered and no news.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # uvicorn raises the signal again that has ended it: for a service manager a wanted end is no failure.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        Server(config, ready).run(sockets=[bound])
    finally:
        signal.signal(signal.SIGTERM, before)
