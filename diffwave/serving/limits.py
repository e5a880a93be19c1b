"""What the service allows, and how it refuses the rest."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds of a service.

    Args:
        audio_seconds: longest utterance of a request that is answered whole.
        stream_audio_seconds: longest utterance of a stream.
        body_bytes: largest body.
        json_bytes: largest body in JSON, which takes about twenty times its size to parse.
        bytes_in_flight: bodies and decoded inputs of all requests together.
        queue: requests that may wait for synthesis.
        streams: streams at once.
        request_seconds: from the first byte of a request until its answer is ready.
        stream_seconds: longest life of a stream.
        idle_seconds: longest silence in a body that arrives.
        batch_seconds: audio synthesized at once, padding included; a batch has at least one utterance.
        batch_wait_seconds: how long the first request of a batch waits for others while nothing runs.
        long_seconds: utterances longer than this are synthesized one at a time and give way to others.
        steps: most network calls.
        consistency: most iterations of mel consistency.
        refinements: most rounds of the refiner.
    """

    audio_seconds: float = 60.0
    stream_audio_seconds: float = 600.0
    body_bytes: int = 32 * MIB
    json_bytes: int = 2 * MIB
    bytes_in_flight: int = 256 * MIB
    queue: int = 128
    streams: int = 4
    request_seconds: float = 120.0
    stream_seconds: float = 900.0
    idle_seconds: float = 20.0
    batch_seconds: float = 4.0
    batch_wait_seconds: float = 0.005
    long_seconds: float = 15.0
    steps: int = 50
    consistency: int = 1000
    refinements: int = 4


class RefusedError(Exception):
    """A request that is answered with an error.

    Args:
        status: of HTTP.
        message: one line for whoever sent it.
        retry_after: seconds after which another try may succeed; None where it would not.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class GoneError(Exception):
    """The client has gone, or nobody waits for the result any more."""
