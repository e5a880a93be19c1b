"""Query parameters of the endpoints: their forms, and one line for whoever gets them wrong."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import Field, fields
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.exceptions import RequestValidationError

from diffwave.config import SynthesisOptions
from diffwave.serving.limits import RefusedError

_LARGEST_SEED = 2**64 - 1
_LARGEST_COUNT = 10**6  # the limits of the service are lower
_STEPS = "^(full|[1-9][0-9]{0,5})$"


def _choice(description: str, choices: Iterable[str]) -> Any:
    return Query(description=description, pattern=f"^({'|'.join(choices).replace('+', '[+]')})$")


WholeKind = Annotated[str, _choice("what the body is; auto looks at its first bytes", ("auto", "audio", "mel"))]
StreamKind = Annotated[
    str, _choice("as for /synthesize, or rows: frames of little-endian float32", ("auto", "audio", "mel", "rows"))
]
Format = Annotated[str, _choice("wav, or pcm for 16-bit little-endian samples without a header", ("wav", "pcm"))]

Mel = Annotated[
    str | None, Query(description="name of the mel's convention, and rate of the audio; the service's if not given")
]

_KNOWN = tuple(each.name for each in fields(SynthesisOptions))


def options_of(request: Request, **given: Any) -> SynthesisOptions:
    """Options of synthesis from a query, whose parameters are the fields; what is not given is the checkpoint's."""
    _check_names(request, {*_KNOWN, "input", "mel", *(("format",) if request.url.path == "/stream" else ())})
    steps = given["steps"]
    return SynthesisOptions(**{**given, "steps": int(steps) if steps and steps != "full" else steps})


def _parameter(option: Field[Any]) -> inspect.Parameter:
    """A query parameter for a field of the options."""
    text, choices = option.metadata["help"], option.metadata.get("choices")
    if option.name == "steps":
        kind: Any = Annotated[str | None, Query(description=text, pattern=_STEPS)]
    elif choices:
        kind = Annotated[str | None, _choice(text, choices)]
    elif option.default is None:
        kind = Annotated[int | None, Query(description=text, ge=0, le=_LARGEST_COUNT)]
    else:
        kind = Annotated[int, Query(description=text, ge=0, le=_LARGEST_SEED)]
    return inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=kind)


# What FastAPI reads.
options_of.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request),
        *map(_parameter, fields(SynthesisOptions)),
    ]
)


def _check_names(request: Request, known: set[str]) -> None:
    """Refuse what would be ignored: a misspelt name, or a second value."""
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in known:
            raise RefusedError(422, f"expected parameters of {', '.join(sorted(known))}; got {name[:40]!r}")
        if names.count(name) > 1:
            raise RefusedError(422, f"{name}: expected one value; got {names.count(name)}")


def what_is_wrong(error: RequestValidationError) -> str:
    """The first complaint about a query, in one line."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])
    said = first["msg"]
    if (pattern := first.get("ctx", {}).get("pattern")) is not None:
        choices = pattern.strip("^()$").replace("[+]", "+").replace("|", ", ")
        said = "expected a number from 1 on, or full" if pattern == _STEPS else f"expected one of {choices}"
    return f"{place}: {said}; got {str(first.get('input'))[:80]!r}"
