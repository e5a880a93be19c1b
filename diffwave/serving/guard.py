"""The outermost layer of the service: whom it answers, and how an answer ends.

- Only requests that name this server are answered while it listens to this machine alone, and none that a page of
  another site makes a browser send.
- An answer that comes before the whole body does is followed by a moment of reading: to close a connection with unread
  data resets it, and the client may never see the answer.
- Whatever escapes the application is logged and answered in JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffwave.serving.connection import ABORT
from diffwave.serving.counters import Metrics
from diffwave.serving.limits import Limits, RefusedError
from diffwave.web.addresses import is_own_name

ENDPOINTS = ("/", "/synthesize", "/stream", "/health", "/metrics", "/openapi.json")
_LINGER_SECONDS = 2.0
_CLIENT_GONE = 499
_STOPPED = 408  # a body that does not arrive need not be waited for
_log = logging.getLogger(__name__)


def error_response(status: int, message: str, retry_after: int | None = None) -> JSONResponse:
    """A refusal: ``{"error": message}``."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return JSONResponse({"error": message}, status, headers)


class Guard:
    """Wraps an application.

    Args:
        app: what answers.
        names: by which clients may call this server, in lower case; None where anybody may reach it anyway.
        limits: of the service.
        metrics: where answers are counted.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] | None, limits: Limits, metrics: Metrics) -> None:
        self._app = app
        self._names = names
        self._limits = limits
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._limits.body_bytes)
        try:
            self._check(Headers(scope=scope))
            await self._app(scope, exchange.receive, exchange.send)
        except RefusedError as refused:
            await error_response(refused.status, str(refused))(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:  # the time for an orderly end is over
            await exchange.fail(503, "the service is shutting down")
        except Exception:
            _log.exception("a request failed")
            await exchange.fail(500, "the service failed; its log says why")
        finally:
            self._count(exchange)

    def _check(self, headers: Headers) -> None:
        """Refuse what another site's page makes a browser send."""
        host = headers.get("host", "")
        if self._names is not None and not is_own_name(host, self._names):
            raise RefusedError(403, "expected this server's own address in the Host header")
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != host.lower():
            raise RefusedError(403, "expected a request that no page of another site has sent (Origin)")
        if headers.get("content-encoding", "identity") != "identity":
            raise RefusedError(415, "expected a body without Content-Encoding")

    def _count(self, exchange: Exchange) -> None:
        path = exchange.scope["path"]
        endpoint = path if path in ENDPOINTS else "other"
        status = exchange.status or _CLIENT_GONE
        self._metrics.requests.labels(endpoint, str(status)).inc()
        self._metrics.request_seconds.labels(endpoint).observe(time.perf_counter() - exchange.begun)
        if exchange.first_byte is not None:
            self._metrics.first_byte_seconds.labels(endpoint).observe(exchange.first_byte - exchange.begun)


class Exchange:
    """One request and its answer.

    Args:
        scope, receive, send: of ASGI.
        most_bytes: how much of a refused body is read at most, to throw it away.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, most_bytes: int) -> None:
        headers = Headers(scope=scope)
        self.scope = scope
        self.status = 0
        self.begun = time.perf_counter()
        self.first_byte: float | None = None
        self._receive, self._send = receive, send
        self._unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._left = most_bytes
        self._complete = False

    async def receive(self) -> Message:
        """The next part of the body."""
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._unread = False
        self._left -= len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """The next part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._unread and self.status >= 400:
                message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
        elif message["type"] == "http.response.body":
            self.first_byte = self.first_byte or time.perf_counter()
            self._complete = not message.get("more_body", False)
            if self._complete and self._unread and self.status != _STOPPED:
                await self._send({**message, "more_body": True})
                await self._linger()
                message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _linger(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while self._unread and self._left > 0:
                    await self.receive()

    async def fail(self, status: int, message: str) -> None:
        """Answer with an error; if the answer has begun, break off the connection instead."""
        self._unread = False  # there is no time to wait for the rest
        if not self.status:
            await error_response(status, message)(self.scope, self.receive, self.send)
        elif not self._complete:
            await break_off(self.scope, self._receive)


async def break_off(scope: Scope, receive: Receive) -> None:
    """End the connection at once, so that an unfinished answer cannot be taken for a whole one."""
    abort = scope.get("state", {}).get(ABORT)
    if abort is None:
        raise RuntimeError("the answer broke off, and the server has no way to say so")
    abort()
    while (await receive())["type"] != "http.disconnect":
        pass


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
