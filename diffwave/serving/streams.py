"""Answers that begin before the request has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import torch
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from diffwave.serving.bodies import body_parts, client_gone
from diffwave.serving.budget import Allowance
from diffwave.serving.guard import break_off
from diffwave.serving.inputs import check_seconds
from diffwave.serving.limits import GoneError, Limits, RefusedError
from diffwave.serving.live import LiveStream
from diffwave.serving.received_mels import Rows
from diffwave.serving.vocoder_threads import as_answer
from diffwave.vocoder import ENOUGH_FRAMES, Vocoder


async def feed_rows(live: LiveStream, vocoder: Vocoder, request: Request, limits: Limits, allowance: Allowance) -> None:
    """Hand frames of a body on as they arrive; see ``Rows``.

    Raises:
        RefusedError, GoneError: as :func:`body_parts`, and for frames that cannot be of the vocoder's convention.
    """
    rows, frames, head = Rows(vocoder.front_end.config.n_mels), 0, torch.empty(vocoder.front_end.config.n_mels, 0)
    async for data in body_parts(request, limits, allowance):
        part = rows.add(data)
        frames += part.shape[1]
        check_seconds(vocoder, frames, limits.stream_audio_seconds)
        if part.shape[1]:
            try:
                vocoder.front_end.check_range(part.unsqueeze(0))
                if head.shape[1] < ENOUGH_FRAMES:
                    head = torch.cat([head, part], dim=1)
                    if head.shape[1] >= ENOUGH_FRAMES:
                        vocoder.front_end.check_convention(head.unsqueeze(0))
            except ValueError as error:
                raise RefusedError(422, str(error)) from None
            live.feed(part)
    rows.end()


async def feed(live: LiveStream, request: Request, source: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``source``, which feeds the stream, tell the stream of its end, and of the end of the client."""
    try:
        await source()
        live.end()
        await client_gone(request)
        live.fail(GoneError())
    except Exception as error:
        live.fail(as_answer(error))


@dataclass
class Session:
    """What a stream holds while it lives.

    Args:
        live: the stream.
        feeder: the task that feeds it.
        deadline: of the loop's clock.
        close: gives back what the stream has taken.
    """

    live: LiveStream
    feeder: asyncio.Task[None]
    deadline: float
    close: Callable[[], None]

    async def end(self) -> None:
        """Stop the work and give everything back."""
        self.live.leave()
        self.feeder.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.feeder
        self.close()


class WavResponse(Response):
    """Audio in pieces as they become known.

    Args:
        session: of the stream.
        first: the beginning of the answer, header included.
        media_type: of the answer.
        headers: of the answer.
    """

    def __init__(self, session: Session, first: bytes, media_type: str, headers: dict[str, str]) -> None:
        super().__init__(media_type=media_type, headers=headers)
        del self.headers["content-length"]
        self._session = session
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything, or break off the connection if something goes wrong on the way."""
        whole = False
        try:
            async with asyncio.timeout_at(self._session.deadline):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._send_pieces(send)
                whole = True
        except (RefusedError, GoneError, TimeoutError):
            pass
        finally:
            await self._session.end()
        if not whole:
            await break_off(scope, receive)

    async def _send_pieces(self, send: Send) -> None:
        piece: bytes | None = self._first
        while piece is not None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            # If the client has gone and pieces are there, neither of the other lines waits: let others have a chance.
            await asyncio.sleep(0)
            piece = await self._session.live.next_piece()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
