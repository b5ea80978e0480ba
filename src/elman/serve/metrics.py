"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["OTHER", "Metrics"]

OTHER = "other"
"""The route of requests that have none."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
STREAMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "elman_requests", "requests by route and status", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "elman_request_seconds",
            "from a request's head to its answer's end",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "elman_batch_streams",
            "streams read in one product",
            ["model"],
            buckets=STREAMS,
            registry=registry,
        )
        self._steps = Counter("elman_steps", "tokens read by streams", ["model"], registry=registry)
        self.at_work = Gauge("elman_requests_at_work", "requests at work", registry=registry)

    def refused(self, status: int) -> None:
        """Count a request that was answered before any route saw it."""
        self.requests.labels(OTHER, str(status)).inc()

    def observer(self, model: str) -> Callable[[int, int], None]:
        """Return what is told of each product of a model's: streams, tokens."""
        batches, steps = self._batches.labels(model), self._steps.labels(model)

        def observe(streams: int, tokens: int) -> None:
            batches.observe(streams)
            steps.inc(tokens)

        return observe

    def watch(self, streams: Callable[[], int]) -> None:
        """Let `streams` say how many there are."""
        Gauge("elman_streams", "streams held", registry=self.registry).set_function(streams)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self.registry)
