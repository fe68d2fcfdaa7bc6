"""Metrics that more than one service keeps. Nothing is registered at import: main hands the registry in."""

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from shared.tracing import tracing


def new_registry() -> CollectorRegistry:
    """A registry with the process's own CPU, memory, file and garbage-collection figures, and what became of
    the spans of this service where it traces."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    if (tracer := tracing()) is not None:
        registry.register(tracer.sink)
    return registry


def exemplar_of(trace_id: str | None) -> dict[str, str] | None:
    """What a histogram shows beside a figure, in OpenMetrics: a trace that is an example of it."""
    return {"trace_id": trace_id} if trace_id else None


class PrometheusRouterMetrics:
    """What a router does, per queue."""

    def __init__(self, registry: CollectorRegistry, queue: str) -> None:
        settled = Counter(
            "deliveries_settled",
            "Events of deliveries settled, by outcome",
            ["queue", "outcome"],
            registry=registry,
        )
        self._settled = {
            outcome: settled.labels(queue, outcome)
            for outcome in ("done", "retried", "dead", "unknown_type", "split")
        }
        self._redelivered = Counter(
            "deliveries_redelivered", "Deliveries that an earlier consumer left", ["queue"], registry=registry
        ).labels(queue)
        self._sizes = Histogram(
            "delivery_batch_size",
            "Events handled together",
            ["queue"],
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
            registry=registry,
        ).labels(queue)
        self._seconds = Histogram(
            "delivery_batch_seconds",
            "Time from receipt to ack of events handled together",
            ["queue"],
            registry=registry,
        ).labels(queue)

    def settled(self, outcome: str, count: int) -> None:
        """See the router's port."""
        self._settled[outcome].inc(count)

    def redelivered(self, count: int) -> None:
        """See the router's port."""
        self._redelivered.inc(count)

    def batch(self, size: int, seconds: float, trace_id: str | None = None) -> None:
        """See the router's port."""
        self._sizes.observe(size)
        self._seconds.observe(seconds, exemplar_of(trace_id))
