"""The service as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

import diffwave
from diffwave.config import SynthesisOptions
from diffwave.serving.counters import CONTENT_TYPE
from diffwave.serving.front_page import front_page
from diffwave.serving.guard import Guard, error_response
from diffwave.serving.limits import GoneError, RefusedError
from diffwave.serving.queries import Format, Mel, StreamKind, WholeKind, options_of, what_is_wrong
from diffwave.serving.service import Service

Options = Annotated[SynthesisOptions, Depends(options_of)]
_STOP_SECONDS = 10.0  # for what still runs after all connections have ended
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {"type": "object", "properties": {"mel": {"type": "array", "items": {"type": "array"}}}}
            },
        },
    }
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "content": {"application/json": {}}}
    for status, description in (
        (408, "the body stopped arriving"),
        (413, "too large or too long"),
        (415, "neither audio nor a mel"),
        (422, "damaged, not of this model's convention, or impossible settings"),
        (503, "too many requests; Retry-After says when to try again"),
        (504, "not ready in time"),
    )
}
_AUDIO: dict[int | str, dict[str, Any]] = {200: {"content": {"audio/wav": {}}, "description": "16-bit PCM"}, **_ERRORS}


def create_app(service: Service, names: Collection[str] | None = None) -> ASGIApp:
    """An application that answers for ``service``, which it starts and stops.

    Args:
        service: what does the work.
        names: by which clients may call this server (:class:`Guard`); None for any.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.start)
        yield
        await asyncio.to_thread(service.stop, _STOP_SECONDS)

    # FastAPI's pages at /docs and /redoc load scripts from other hosts; / says the same and loads nothing.
    app = FastAPI(
        title="diffwave",
        version=diffwave.__version__,
        summary="A vocoder: mels or recordings in, speech out.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    _add_speech(app, service)
    _add_pages(app, service)
    _add_errors(app)
    return Guard(app, names, service.limits, service.metrics)


def _add_speech(app: FastAPI, service: Service) -> None:
    @app.post("/synthesize", response_class=Response, responses=_AUDIO, openapi_extra=_BODY)
    async def synthesize(request: Request, options: Options, input: WholeKind = "auto", mel: Mel = None) -> Response:  # noqa: A002
        """Speak a recording or a mel; the answer is a whole WAV file."""
        service.check(options)
        return await service.synthesize(request, options, input, mel)

    @app.post("/stream", response_class=Response, responses=_AUDIO, openapi_extra=_BODY)
    async def stream(
        request: Request,
        options: Options,
        input: StreamKind = "auto",  # noqa: A002
        format: Format = "wav",  # noqa: A002
        mel: Mel = None,
    ) -> Response:
        """Speak while the mel arrives; the answer begins as soon as its first samples are known."""
        service.check(options)
        return await service.stream(request, options, input, format == "pcm", mel)


def _add_pages(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> JSONResponse:
        """What runs here."""
        told = service.health()
        return JSONResponse(told, 200 if told["status"] == "ok" else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counts and times, in the text format of Prometheus."""
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    @app.get("/", include_in_schema=False)
    async def front(request: Request) -> HTMLResponse:
        return HTMLResponse(front_page(service.health(), str(request.base_url)))


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return error_response(error.status, str(error), error.retry_after)

    @app.exception_handler(GoneError)
    async def gone(_: Request, __: GoneError) -> Response:
        return Response(status_code=499)  # for the counts; nobody reads it

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        where = f"{request.method} {request.url.path[:80]!r}"
        response = error_response(error.status_code, f"{where}: {error.detail}; / lists what there is")
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(422, what_is_wrong(error))
