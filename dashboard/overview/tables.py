"""The tables of the page."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from dashboard.overview.fragments import (
    UNKNOWN,
    badge,
    cell,
    duration,
    element,
    figure,
    megabytes,
    number,
    row,
    table,
)
from dashboard.overview.state import BrokerState, NodeState, NodeStatus, QueueState, StoreState
from shared.keyspace import NotificationStatus, OrderStatus
from shared.pipeline import CONSUMPTIONS, QUORUM_SIZE, RETRY_TIERS_SECONDS, Consumption

SKUS_SHOWN: Final = 200
_NODE_STATES: Final = {
    NodeStatus.RUNNING: ("running", "good"),
    NodeStatus.NOT_RUNNING: ("not running", "bad"),
    NodeStatus.UNREACHABLE: ("unreachable", "bad"),
    NodeStatus.UNKNOWN: ("unknown", "unsure"),
}


def orders(store: StoreState) -> str:
    """Orders by status."""
    return table(
        row(
            status.value.capitalize(),
            number(count, "bad" if status is OrderStatus.DEAD and count else ""),
        )
        for status, count in store.orders.items()
    )


def notifications(store: StoreState) -> str:
    """Orders, swept ones included, by the status of their latest notification."""
    return table(
        row(
            status.value.capitalize(),
            number(count, "bad" if status is NotificationStatus.FAILED and count else ""),
        )
        for status, count in store.notifications.items()
    )


def nodes(states: Sequence[NodeState]) -> str:
    """The broker nodes."""
    if not states:
        return element("p", "No broker node is known yet.", "nothing")
    return table((_node(state) for state in states), ("Node", "State", "Memory", "Up for"), _NUMERIC)


_NUMERIC: Final = frozenset(
    {"Memory", "Up for", "Ready", "Unacked", "Consumers", "Members online", "Available"}
)


def _node(state: NodeState) -> str:
    badges = [badge(*_NODE_STATES[state.status]), *(badge(f"{name} alarm", "bad") for name in state.alarms)]
    uptime = UNKNOWN if state.uptime_seconds is None else duration(state.uptime_seconds)
    return row(
        state.node,
        cell(" ".join(badges)),
        cell(megabytes(state.memory_bytes), "number"),
        cell(uptime, "number"),
    )


def queues(broker: BrokerState) -> str:
    """The pipeline's queues; the retry tiers of a consumer in one row."""
    if broker.observed_at is None:
        return element("p", "Not known: no broker has answered yet.", "nothing")
    rows = [line for consumption in CONSUMPTIONS for line in _of_consumption(consumption, broker.queues)]
    return table(rows, ("Queue", "Ready", "Unacked", "Consumers", "Members online"), _NUMERIC)


def _of_consumption(consumption: Consumption, known: Mapping[str, QueueState]) -> list[str]:
    tiers = [known.get(consumption.retry_queue(seconds)) for seconds in RETRY_TIERS_SECONDS]
    seconds = ", ".join(str(tier) for tier in RETRY_TIERS_SECONDS)
    retries = _together(f"{consumption.retry_prefix}.* ({seconds} s)", tiers)
    main, dead = known.get(consumption.queue), known.get(consumption.dead_queue)
    return [
        _queue(consumption.queue, main, main.consumers if main else None),
        _queue(retries.name, retries, None),
        _queue(consumption.dead_queue, dead, None, alarming=True),
    ]


def _together(name: str, tiers: Sequence[QueueState | None]) -> QueueState:
    """Retry tiers as one queue, whose members are those of the tier that has the fewest."""
    known = [tier for tier in tiers if tier is not None]
    fewest = min(known, key=lambda tier: len(tier.online), default=None)
    return QueueState(
        name=name,
        ready=sum(tier.ready or 0 for tier in known) if known else None,
        unacked=sum(tier.unacked or 0 for tier in known) if known else None,
        members=fewest.members if fewest and len(known) == len(tiers) else (),
        online=fewest.online if fewest and len(known) == len(tiers) else (),
    )


def _queue(name: str, queue: QueueState | None, consumers: int | None, *, alarming: bool = False) -> str:
    if queue is None:
        return row(name, cell(badge("does not exist", "bad")), *([cell("")] * 3))
    online = len(queue.online)
    return row(
        name,
        number(queue.ready, "bad" if alarming and queue.ready else ""),
        number(queue.unacked),
        number(consumers, "bad" if consumers == 0 else ""),
        cell(f"{online} of {QUORUM_SIZE}", "number" if online >= QUORUM_SIZE else "number bad"),
    )


def stock(inventory: Mapping[str, int | None]) -> str:
    """What is available, for the first of the SKUs."""
    if not inventory:
        return element("p", "No SKU has stock. Set some: orderctl inventory set SKU QTY", "nothing")
    rows = [
        row(sku, number(available, "" if available is not None and available >= 0 else "bad"))
        for sku, available in islice(inventory.items(), SKUS_SHOWN)
    ]
    rest = len(inventory) - len(rows)
    more = element("p", f"{figure(rest)} more SKUs are in /metrics.", "note") if rest else ""
    return table(rows, ("SKU", "Available"), _NUMERIC) + more
