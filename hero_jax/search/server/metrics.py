"""Counts for Prometheus, and their text."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

# Upper ends of seconds, from a small model's search to a deadline.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_REQUESTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counts of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "hero_requests",
            "Answers by route and status.",
            ("route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "hero_request_seconds",
            "Seconds until an answer began.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch = Histogram(
            "hero_batch_requests", "Requests of a batch.", buckets=_REQUESTS, registry=registry
        )
        self._batch_seconds = Histogram(
            "hero_batch_seconds", "Seconds of a batch.", buckets=_SECONDS, registry=registry
        )
        self._waiting = Gauge("hero_waiting_requests", "Requests that wait.", registry=registry)
        self._clips = Gauge("hero_index_clips", "Clips and windows.", registry=registry)
        self._opened = Counter("hero_index_opened", "Openings of the index.", registry=registry)
        self._failed = Counter(
            "hero_index_failed", "Changed indexes that could not be opened.", registry=registry
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts an answer that began."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, requests: int, seconds: float) -> None:
        """Counts a batch."""
        self._batch.observe(requests)
        self._batch_seconds.observe(seconds)

    def opened(self, clips: int) -> None:
        """Counts that the index was opened."""
        self._opened.inc()
        self._clips.set(clips)

    def not_opened(self) -> None:
        """Counts that a changed index could not be opened."""
        self._failed.inc()

    def text(self, waiting: int) -> bytes:
        """Returns all of it as Prometheus reads it; `waiting` is the number of requests that do."""
        self._waiting.set(waiting)
        return generate_latest(self._registry)
