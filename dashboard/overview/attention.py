"""What an operator should look at, in plain sentences."""

from collections.abc import Iterator, Sequence
from typing import Final

from dashboard.overview.state import BrokerState, NodeState, NodeStatus, PipelineState, QueueState, StoreState
from shared.keyspace import OrderStatus
from shared.pipeline import CONSUMPTIONS, queues

OLD_OUTBOX_SECONDS: Final = 30.0
OLD_BROKER_FIGURES_SECONDS: Final = 10.0
NEARLY_FULL: Final = 0.8
_SHOWN: Final = 5

_ABOUT_NODES: Final = {
    NodeStatus.NOT_RUNNING: "does not run",
    NodeStatus.UNREACHABLE: "does not answer, or its peers do not see it",
}


def attention(state: PipelineState) -> list[str]:
    """Everything that is not as it should be, the gravest first; empty when all is well."""
    return [
        *([f"The store is away: {state.store_fault}"] if state.store_fault else []),
        *node_faults(state.broker),
        *queue_faults(state.broker),
        *(_of_store(state.store) if state.store else []),
    ]


def node_faults(broker: BrokerState) -> list[str]:
    """One sentence per broker node that is down, cut off or in alarm, or one about all of them."""
    if broker.nodes and all(node.status is NodeStatus.UNKNOWN for node in broker.nodes):
        reasons = (f"{endpoint}: {reason}" for endpoint, reason in broker.silence.items())
        return [f"No broker's management interface answers ({'; '.join(reasons)})"]
    return [fault for node in broker.nodes for fault in _of_node(node)]


def queue_faults(broker: BrokerState) -> list[str]:
    """One sentence per thing that is wrong with a queue, as far as the brokers have told of late."""
    if broker.age_seconds is None:
        return ["The brokers have not told about the queues yet"]
    if is_old(broker):
        return [f"The figures of the queues are {broker.age_seconds:.0f} s old"]
    return [
        *_missing_queues(broker),
        *_short_queues(broker),
        *_unread_queues(broker),
        *_dead_letters(broker),
    ]


def is_old(broker: BrokerState) -> bool:
    """Whether the figures of the queues say nothing about now."""
    return broker.age_seconds is None or broker.age_seconds > OLD_BROKER_FIGURES_SECONDS


def _of_node(node: NodeState) -> Iterator[str]:
    if node.status in _ABOUT_NODES:
        yield f"Broker node {node.node} {_ABOUT_NODES[node.status]}"
    for alarm in node.alarms:
        yield f"Broker node {node.node} has a {alarm} alarm"


def _missing_queues(broker: BrokerState) -> Iterator[str]:
    for queue in queues():
        if queue.name not in broker.queues:
            yield f"Queue {queue.name} does not exist"


def _short_queues(broker: BrokerState) -> Iterator[str]:
    ours = _ours(broker)
    short = [queue.name for queue in ours if len(queue.members) < broker.members_needed]
    if short:
        yield f"Queues with fewer than {broker.members_needed} members: {listed(short)}"
    offline = [queue.name for queue in ours if len(queue.online) < len(queue.members)]
    if offline:
        yield f"Queues with a member offline: {listed(offline)}"


def _unread_queues(broker: BrokerState) -> Iterator[str]:
    for consumption in CONSUMPTIONS:
        queue = broker.queues.get(consumption.queue)
        if queue is not None and queue.consumers == 0:
            yield f"Nobody consumes {queue.name}: is {consumption.service} running?"


def _dead_letters(broker: BrokerState) -> Iterator[str]:
    for consumption in CONSUMPTIONS:
        queue = broker.queues.get(consumption.dead_queue)
        letters = (queue.ready or 0) + (queue.unacked or 0) if queue is not None else 0
        if letters:
            yield f"Dead letters in {consumption.dead_queue}: {letters:,}"


def _of_store(store: StoreState) -> Iterator[str]:
    server = store.server
    if server is not None and server.memory_bytes > server.memory_limit_bytes * NEARLY_FULL > 0:
        share = 100 * server.memory_bytes / server.memory_limit_bytes
        yield f"The store uses {share:.0f} % of its memory; once it is full, no order is accepted"
    if server is not None and not server.is_writing:
        yield "The store cannot write to its disk"
    if (store.outbox_oldest_seconds or 0) > OLD_OUTBOX_SECONDS:
        yield f"The outbox holds an order that has waited {store.outbox_oldest_seconds:.0f} s for a broker"
    dead = store.orders.get(OrderStatus.DEAD)
    if dead:
        yield f"Orders in a dead-letter queue: {dead:,}"
    negative = [sku for sku, available in store.inventory.items() if available is not None and available < 0]
    if negative:
        yield f"Stock below zero: {listed(negative)}"
    broken = [sku for sku, available in store.inventory.items() if available is None]
    if broken:
        yield f"Stock that is no whole number: {listed(broken)}"


def _ours(broker: BrokerState) -> list[QueueState]:
    consumed = {consumption.queue for consumption in CONSUMPTIONS}
    names = sorted((queue.name for queue in queues()), key=lambda name: name not in consumed)
    return [broker.queues[name] for name in names if name in broker.queues]


def listed(names: Sequence[str]) -> str:
    """The first of the names, and how many there are besides."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
