"""Services in threads of the test's process, and bytes to send them."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from diffwave.serving.limits import Limits
from diffwave.vocoder import Vocoder

if TYPE_CHECKING:
    from diffwave.serving.service import Service


def encoded(samples: np.ndarray, rate: int, kind: str = "WAV", subtype: str | None = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@dataclass(frozen=True)
class Served:
    """A running service."""

    url: str
    address: tuple[str, int]
    service: Service


@contextmanager
def serving(vocoder: Vocoder, limits: Limits, names: set[str] | None = None) -> Iterator[Served]:
    """Serve from a thread of this process, with uvicorn and real connections."""
    import uvicorn

    from diffwave.serving.app import create_app
    from diffwave.serving.connection import GuardedProtocol
    from diffwave.serving.server import Server, open_port, url_of
    from diffwave.serving.service import Service

    service = Service(vocoder, "tiny", limits)
    bound = open_port("127.0.0.1", 0)
    config = uvicorn.Config(
        create_app(service, names),
        http=GuardedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        timeout_keep_alive=1,
        timeout_graceful_shutdown=2,
    )
    ready = threading.Event()
    server = Server(config, ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield Served(url_of(bound), bound.getsockname()[:2], service)
    finally:
        server.should_exit = True
        thread.join(30)
        bound.close()
        assert not thread.is_alive(), "the server did not stop"


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Fail if a condition does not come true in time."""
    pause = threading.Event()
    for _ in range(int(seconds * 100)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come true in time")


def raw_exchange(address: tuple[str, int], *parts: bytes, timeout: float = 20.0) -> bytes:
    """Send bytes as they are, and return what comes until the server closes the connection."""
    with socket.create_connection(address, timeout) as connection:
        received = b""
        try:
            for part in parts:
                connection.sendall(part)
            while data := connection.recv(1 << 16):
                received += data
        except ConnectionError:
            pass
        return received
