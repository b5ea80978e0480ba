"""Counters of the server in the format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

NO_ROUTE = "other"
"""Label of requests that were answered before a route was found."""
SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
STREAMS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        # The global registry of prometheus_client would mix the counters of several servers in one process.
        self.registry = CollectorRegistry()
        counter, gauge = (
            partial(Counter, registry=self.registry),
            partial(Gauge, registry=self.registry),
        )
        histogram = partial(Histogram, registry=self.registry)
        self.requests = counter(
            "elman_requests", "requests by route and status", ["route", "status"]
        )
        text = "time from a request's headers to the end of its answer"
        self.seconds = histogram("elman_request_seconds", text, ["route"], buckets=SECONDS_BUCKETS)
        text = "streams that share one pass through the network"
        self._batches = histogram("elman_batch_streams", text, ["model"], buckets=STREAMS_BUCKETS)
        self._steps = counter("elman_steps", "tokens read by streams", ["model"])
        self.at_work = gauge("elman_requests_at_work", "requests being answered")
        self._streams = gauge("elman_streams", "streams held")

    def count_refused(self, status: int) -> None:
        """Count a request that was answered before any route saw it."""
        self.requests.labels(NO_ROUTE, str(status)).inc()

    def batch_counter(self, model: str) -> Callable[[int, int], None]:
        """Return a function that counts one batch of a model, given its number of streams and of tokens."""
        batches, steps = self._batches.labels(model), self._steps.labels(model)

        def count(streams: int, tokens: int) -> None:
            batches.observe(streams)
            steps.inc(tokens)

        return count

    def watch_streams(self, count: Callable[[], int]) -> None:
        """Call `count` for the number of streams whenever the metrics are read."""
        self._streams.set_function(count)

    def text(self) -> bytes:
        """Return all counters in the text format of Prometheus."""
        return generate_latest(self.registry)
