"""Counts and times of a service, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """What a service counts; each has a registry of its own, so that several can live in one process."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        place = ["endpoint"]
        self.requests = Counter(
            "diffwave_requests", "Requests answered (499: the client had gone).", [*place, "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "diffwave_request_seconds",
            "From a request's header to the end of its answer.",
            place,
            buckets=_SECONDS,
            registry=registry,
        )
        self.first_byte_seconds = Histogram(
            "diffwave_first_byte_seconds",
            "From a request's header to the beginning of its answer.",
            place,
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "diffwave_batch_size", "Utterances synthesized at once.", buckets=_SIZES, registry=registry
        )
        self.audio_seconds = Counter("diffwave_audio_seconds", "Audio synthesized.", registry=registry)
        self.synthesis_seconds = Counter("diffwave_synthesis_seconds", "Time spent on that.", registry=registry)
        self.abandoned = Counter(
            "diffwave_abandoned",
            "Utterances, streams aside, whose client went away or whose time ran out.",
            registry=registry,
        )

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when somebody asks."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """Everything, for ``/metrics``."""
        text: bytes = generate_latest(self._registry)
        return text
