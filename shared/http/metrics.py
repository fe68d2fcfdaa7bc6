"""What the HTTP port does, for Prometheus. Routes are named by their templates, so that series stay few."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.metrics import exemplar_of

KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER: Final = "other"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class HttpMetrics:
    """Counts and times a port's answers. Children are kept: looking one up by its labels is slow."""

    def __init__(self, registry: CollectorRegistry, prefix: str = "http") -> None:
        self._answers = Counter(
            f"{prefix}_requests", "Requests answered", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            f"{prefix}_request_seconds",
            "Time from the head of a request to its answer",
            ["method", "route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            f"{prefix}_connections_refused", "Connections past the limit, turned away", registry=registry
        )
        self._evicted = Counter(
            f"{prefix}_connections_evicted", "Idle connections that made room for new ones", registry=registry
        )
        self._timed_out = Counter(
            f"{prefix}_connections_timed_out", "Connections closed because they stalled", registry=registry
        )
        self.in_flight = 0
        in_flight = Gauge(f"{prefix}_requests_in_flight", "Requests being answered now", registry=registry)
        in_flight.set_function(lambda: self.in_flight)
        self.connections = Gauge(f"{prefix}_connections", "Open client connections", registry=registry)
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(
        self, method: str, route: str, status: int, seconds: float, trace_id: str | None = None
    ) -> None:
        """A request has its answer. Methods that nobody serves are counted together; ``trace_id`` is shown as
        an example of what takes so long.
        """
        key = (method if method in KNOWN_METHODS else OTHER, route, status)
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = (
                self._answers.labels(key[0], route, status),
                self._seconds.labels(key[0], route),
            )
        children[0].inc()
        children[1].observe(seconds, exemplar_of(trace_id))

    def connection_refused(self) -> None:
        """A connection past the limit was turned away."""
        self._refused.inc()

    def connection_evicted(self) -> None:
        """An idle connection made room for a new one."""
        self._evicted.inc()

    def connection_timed_out(self) -> None:
        """A connection was closed because it stalled."""
        self._timed_out.inc()
