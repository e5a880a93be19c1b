"""Connections that end when their client is too slow, in either direction.

uvicorn has a limit for connections that idle between requests. It has none for a header that never ends, nor for a
client that does not read its answer.
"""

from __future__ import annotations

import asyncio
import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
READ_SECONDS = 30.0  # for the client to take what the buffers hold, about 50 KiB
ABORT = "abort"  # in ``scope["state"]``: a function that ends the connection at once


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with limits of time."""

    _header_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a header soon."""
        super().connection_made(transport)
        # An answer that breaks off must not look complete; only the connection can tell.
        self.app_state = {**self.app_state, ABORT: transport.abort}
        self._header_timer = self.loop.call_later(HEADER_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more is expected."""
        self._expect_header(False)
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Expect the rest of a header that has begun."""
        super().data_received(data)
        self._expect_header(self.cycle is None or self.cycle.response_complete)

    def _expect_header(self, expected: bool) -> None:
        if expected and self._header_timer is None and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(HEADER_SECONDS, self.transport.abort)
        if not expected and self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def pause_writing(self) -> None:
        """The client does not take its answer: it has so long to go on."""
        super().pause_writing()
        self._read_timer = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client goes on."""
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection, also one whose client has not taken all of its last answer."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(READ_SECONDS, self.transport.abort)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Answer what is no HTTP, in JSON as everything else."""
        body = json.dumps({"error": "expected an HTTP request that can be read"}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        try:
            self.transport.write(self.conn.send(h11.Response(status_code=400, headers=headers)) or b"")
            self.transport.write(self.conn.send(h11.Data(data=body)) or b"")
        except h11.LocalProtocolError:  # an answer had begun already
            pass
        self.transport.close()
