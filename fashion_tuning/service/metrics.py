"""What Prometheus reads of the service."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from fashion_tuning.stderr_gate import lines_printed

__all__ = ["CONTENT_TYPE", "Metrics"]

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16)


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        registry.register(_LibraryLines())
        self.requests = Counter("fashion_requests", "Requests answered.", ("path", "status"), registry=registry)
        self.errors = Counter("fashion_errors", "Problems by kind, see /docs.", ("kind",), registry=registry)
        self.latency = Histogram(
            "fashion_request_seconds", "From the headers to the answer.", ("path",), registry=registry, buckets=SECONDS
        )
        self.queue = Gauge("fashion_queue_pictures", "Pictures being read, waiting or computed.", registry=registry)
        self.batches = Histogram("fashion_batch_pictures", "Pictures in a batch.", registry=registry, buckets=SIZES)
        self.computing = Histogram("fashion_batch_seconds", "Computing a batch.", registry=registry, buckets=SECONDS)
        self.predictions = Counter("fashion_predictions", "Likeliest categories.", ("category",), registry=registry)
        self.unsure = Counter("fashion_unsure_predictions", "Answers below the threshold.", registry=registry)
        self.reloads = Counter("fashion_reloads", "New models: taken or refused.", ("outcome",), registry=registry)
        self.feedback = Counter("fashion_feedback", "Categories that people chose.", ("kind",), registry=registry)
        self.model = Gauge("fashion_model", "1 for the model that answers.", ("name", "version"), registry=registry)

    def batch(self, size: int, seconds: float) -> None:
        """Counts a batch."""
        self.batches.observe(size)
        self.computing.observe(seconds)

    def serves(self, name: str, version: str) -> None:
        """Says which model answers from now on."""
        self.model.clear()
        self.model.labels(name, version).set(1)

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self._registry)


class _LibraryLines(Collector):
    def collect(self) -> Iterator[CounterMetricFamily]:
        what = "Lines that C libraries printed to standard error, most of them kept out of the log."
        yield CounterMetricFamily("fashion_library_lines", what, value=lines_printed())
