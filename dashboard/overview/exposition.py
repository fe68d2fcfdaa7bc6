"""The state of the pipeline in Prometheus' formats, beside the figures of this process."""

from collections.abc import Collection, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dashboard.overview.attention import is_old
from dashboard.overview.state import (
    BrokerState,
    NodeStatus,
    PipelineState,
    QueueState,
    StoreServer,
    StoreState,
)
from shared.http.exposition import exposition
from shared.orders.model import OrderStatus, Trouble


def expose(state: PipelineState, process: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The body, and its content type, in the best format that ``accept`` names."""
    together = CollectorRegistry()
    together.register(process)
    together.register(_PipelineCollector(state))
    return exposition(together, accept)


class _PipelineCollector(Collector):
    """One state, as metrics. A figure that is not known has no sample."""

    def __init__(self, state: PipelineState) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        up = self._state.store is not None
        yield GaugeMetricFamily("pipeline_store_up", "Whether the store answered this scrape", value=up)
        if self._state.store is not None:
            yield from _of_store(self._state.store)
        yield from _of_brokers(self._state.broker)
        yield _labelled(
            "pipeline_further_store_up",
            "Whether the cache, or PostgreSQL by the word of those who need it, can be used",
            "store",
            ((name, reason is None) for name, reason in self._state.further_stores.items()),
        )
        yield _labelled(
            "pipeline_service_ready",
            "Whether every replica of a service can do its work, by its own word",
            "service",
            ((service.name, service.is_ready) for service in self._state.services),
        )


def _of_store(store: StoreState) -> Iterator[Metric]:
    if store.processed is not None:
        yield CounterMetricFamily(
            "pipeline_orders_processed", "Orders decided, once each", value=store.processed
        )
    yield _labelled("pipeline_orders", "Orders by status", "status", store.orders.items())
    yield _labelled(
        "pipeline_orders_in_trouble", "Undecided orders by their trouble", "trouble", store.trouble.items()
    )
    yield _labelled(
        "pipeline_orders_oldest_age_seconds",
        "How long ago the oldest undecided order that is in no trouble was accepted",
        "status",
        ((index, age) for index, age in store.oldest_seconds.items() if isinstance(index, OrderStatus)),
    )
    yield _labelled(
        "pipeline_orders_in_trouble_oldest_age_seconds",
        "How long ago the oldest order in a trouble was accepted",
        "trouble",
        ((index, age) for index, age in store.oldest_seconds.items() if isinstance(index, Trouble)),
    )
    yield _labelled(
        "pipeline_notifications",
        "Orders, swept ones included, by the status of their latest notification",
        "status",
        store.notifications.items(),
    )
    if store.untold is not None:
        yield GaugeMetricFamily(
            "pipeline_notifications_untold",
            "Decisions whose customer is yet to be told, without those given up",
            value=store.untold,
        )
        yield GaugeMetricFamily(
            "pipeline_notifications_untold_oldest_age_seconds",
            "How long the oldest of them has waited, 0 where none may be told yet",
            value=store.untold_oldest_seconds or 0.0,
        )
    if store.unpaid is not None:
        yield GaugeMetricFamily(
            "pipeline_payments_due",
            "Orders about whose payment something is left to be done",
            value=store.unpaid,
        )
        yield GaugeMetricFamily(
            "pipeline_payments_late_seconds",
            "How long ago that was due for the first of them, 0 where it is not due yet",
            value=store.unpaid_late_seconds or 0.0,
        )
    yield GaugeMetricFamily(
        "pipeline_log_entries", "Steps of orders that are kept in the log", value=store.log_entries
    )
    yield GaugeMetricFamily(
        "pipeline_log_unwritten_oldest_age_seconds",
        "Age of the oldest of them that the ledger has not written, 0 where it has all",
        value=store.unwritten_oldest_seconds or 0.0,
    )
    yield GaugeMetricFamily(
        "pipeline_log_unpromised_oldest_age_seconds",
        "Age of the oldest of them that webhooks has not read, 0 where it has all",
        value=store.unpromised_oldest_seconds or 0.0,
    )
    yield GaugeMetricFamily(
        "pipeline_inventory_skus",
        "SKUs that are known, of which the first 1,000 have a series",
        value=store.skus,
    )
    yield _labelled(
        "pipeline_inventory_available", "Pieces of a SKU available now", "sku", store.inventory.items()
    )
    if store.outbox is not None:
        yield GaugeMetricFamily(
            "pipeline_outbox_orders",
            "Orders accepted or moved and not yet confirmed by a broker",
            value=store.outbox,
        )
        yield GaugeMetricFamily(
            "pipeline_outbox_oldest_age_seconds",
            "How long the oldest order in the outbox has waited, 0 where there is none",
            value=store.outbox_oldest_seconds or 0.0,
        )
    if store.server is not None:
        yield from _of_server(store.server)


def _of_server(server: StoreServer) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "pipeline_store_memory_bytes", "Memory that the store uses", value=server.memory_bytes
    )
    if server.memory_limit_bytes:
        yield GaugeMetricFamily(
            "pipeline_store_memory_limit_bytes",
            "Memory past which the store refuses writes",
            value=server.memory_limit_bytes,
        )
    yield GaugeMetricFamily("pipeline_store_clients", "Connections to the store", value=server.clients)
    yield CounterMetricFamily(
        "pipeline_store_commands", "Commands that the store has carried out", value=server.commands
    )
    yield GaugeMetricFamily(
        "pipeline_store_writing", "Whether the store's last write to disk succeeded", value=server.is_writing
    )


def _of_brokers(broker: BrokerState) -> Iterator[Metric]:
    runs = {node.node: node.status is NodeStatus.RUNNING for node in broker.nodes}
    alarms = [(node.node, len(node.alarms)) for node in broker.nodes if runs[node.node]]
    yield _labelled("pipeline_broker_node_up", "Whether a broker node can be used", "node", runs.items())
    yield _labelled("pipeline_broker_node_alarms", "Alarms that a broker node has raised", "node", alarms)
    if broker.age_seconds is None:
        return
    yield GaugeMetricFamily(
        "pipeline_broker_state_age_seconds",
        "How old the figures of the queues are; without them in this scrape where that is too old",
        value=broker.age_seconds,
    )
    if not is_old(broker):
        yield from _of_queues(broker.queues.values())


def _of_queues(queues: Collection[QueueState]) -> Iterator[Metric]:
    messages = GaugeMetricFamily(
        "pipeline_queue_messages", "Messages in a queue, of up to 64 events each", labels=["queue", "state"]
    )
    consumers = [(queue.name, queue.consumers) for queue in queues]
    members = [(queue.name, len(queue.members)) for queue in queues]
    online = [(queue.name, len(queue.online)) for queue in queues]
    for queue in queues:
        for state, count in (("ready", queue.ready), ("unacked", queue.unacked)):
            if count is not None:
                messages.add_metric([queue.name, state], count)
    yield messages
    yield _labelled("pipeline_queue_consumers", "Consumers of a queue", "queue", consumers)
    yield _labelled("pipeline_queue_members", "Members of a quorum queue", "queue", members)
    yield _labelled("pipeline_queue_members_online", "Members of a quorum queue that run", "queue", online)


def _labelled(
    name: str, documentation: str, label: str, figures: Iterable[tuple[str, float | None]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, documentation, labels=[label])
    for value, figure in figures:
        if figure is not None:
            family.add_metric([str(value)], figure)
    return family
