"""Query parameters of the endpoints: their forms, and one line for whoever gets them wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.exceptions import RequestValidationError

from diffwave.config.sampling import PLACES, SAMPLERS
from diffwave.serving.limits import RefusedError
from diffwave.serving.waiting import SynthesisSettings

_LARGEST_SEED = 2**64 - 1
_LARGEST_COUNT = 10**6  # the limits of the service are lower


_STEPS = "^(full|[1-9][0-9]{0,5})$"


def _choice(description: str, choices: Iterable[str]) -> Any:
    return Query(description=description, pattern=f"^({'|'.join(choices).replace('+', '[+]')})$")


Steps = Annotated[str | None, Query(description="network calls, or full", pattern=_STEPS)]
Seed = Annotated[int, Query(description="of the noise", ge=0, le=_LARGEST_SEED)]
Count = Annotated[int | None, Query(ge=0, le=_LARGEST_COUNT)]
SamplerName = Annotated[str | None, _choice("default: the checkpoint's", SAMPLERS)]
Place = Annotated[str | None, _choice("where else mel consistency works", PLACES)]
WholeKind = Annotated[str, _choice("what the body is; auto looks at its first bytes", ("auto", "audio", "mel"))]
StreamKind = Annotated[
    str, _choice("as for /synthesize, or rows: frames of little-endian float32", ("auto", "audio", "mel", "rows"))
]
Format = Annotated[str, _choice("wav, or pcm for 16-bit little-endian samples without a header", ("wav", "pcm"))]

_KNOWN = ("steps", "sampler", "seed", "consistency", "consistency_at", "refinements")


def settings_of(
    request: Request,
    steps: Steps = None,
    sampler: SamplerName = None,
    seed: Seed = 0,
    consistency: Count = None,
    consistency_at: Place = None,
    refinements: Count = None,
) -> SynthesisSettings:
    """Settings of synthesis from a query; what is not given is the checkpoint's."""
    _check_names(request, {*_KNOWN, "input", "format"} if request.url.path == "/stream" else {*_KNOWN, "input"})
    count = int(steps) if steps and steps != "full" else steps
    return SynthesisSettings(count, sampler, seed, consistency, consistency_at, refinements)


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
