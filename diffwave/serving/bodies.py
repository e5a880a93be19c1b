"""Bodies as they arrive: counted, not believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from diffwave.serving.budget import Allowance
from diffwave.serving.limits import GoneError, Limits, RefusedError


async def body_parts(request: Request, limits: Limits, allowance: Allowance) -> AsyncIterator[bytes]:
    """The parts of a body, each taken from the allowance.

    Raises:
        RefusedError: if the body is too large (413), stops arriving (408), or finds no room (503).
        GoneError: if the client has gone.
    """
    _check_length(request, limits.body_bytes)
    total = 0
    parts = request.stream()
    while True:
        try:
            async with asyncio.timeout(limits.idle_seconds):
                part = await anext(parts, None)
        except TimeoutError:
            raise RefusedError(408, f"expected the body to go on; nothing came for {limits.idle_seconds:g} s") from None
        except ClientDisconnect:
            raise GoneError from None
        if part is None:
            return
        total += len(part)
        if total > limits.body_bytes:
            raise RefusedError(413, _too_large(limits.body_bytes))
        allowance.take(len(part))
        if part:
            yield part


async def whole_body(request: Request, limits: Limits, allowance: Allowance) -> bytes:
    """A whole body; raises as :func:`body_parts`."""
    body = bytearray()
    async for part in body_parts(request, limits, allowance):
        body += part
    return bytes(body)


async def client_gone(request: Request) -> None:
    """Return once the client has gone; the whole body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _check_length(request: Request, most: int) -> None:
    """Refuse a body that is too large by its own account, before any of it is read."""
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdecimal() and (len(length) > 18 or int(length) > most):
        raise RefusedError(413, _too_large(most))


def _too_large(most: int) -> str:
    return f"expected a body of at most {most} bytes; got more"
