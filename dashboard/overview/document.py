"""The state of the pipeline as JSON."""

from typing import Any

from dashboard.overview.attention import attention, dead_letters, flow
from dashboard.overview.state import (
    Answer,
    BrokerState,
    NodeState,
    PipelineState,
    Question,
    QueueState,
    ServiceState,
    StoreServer,
    StoreState,
)
from shared.pipeline import CONSUMPTIONS


def document(state: PipelineState, store: StoreState, question: Question, answer: Answer) -> dict[str, Any]:
    """The answer to ``GET /metrics``. Ages in seconds, times in UTC; null where a figure is not known."""
    asked = {
        "inventory_level": (question.sku, answer.inventory_level),
        "notification_status": (question.order_id, answer.notification_status),
        "notification_unconfirmed": (question.order_id, answer.is_unconfirmed),
        "order_status": (question.order_id, answer.order and answer.order.status),
    }
    return {
        "processed_orders_count": store.processed,
        "orders": {status.value: count for status, count in store.orders.items()},
        "trouble": {trouble.value: count for trouble, count in store.trouble.items()},
        "inventory": store.inventory,
        "inventory_skus": store.skus,
        "notifications": {status.value: count for status, count in store.notifications.items()},
        "outbox": {"size": store.outbox, "oldest_age_seconds": store.outbox_oldest_seconds},
        "undecided": {"orders": store.undecided, "oldest_age_seconds": store.undecided_oldest_seconds},
        "untold": {"orders": store.untold, "oldest_age_seconds": store.untold_oldest_seconds},
        "unpaid": {"orders": store.unpaid, "late_seconds": store.unpaid_late_seconds},
        "log": {
            "entries": store.log_entries,
            "unwritten_oldest_age_seconds": store.unwritten_oldest_seconds,
            "unpromised_oldest_age_seconds": store.unpromised_oldest_seconds,
        },
        "queues": {name: _queue(queue) for name, queue in sorted(state.broker.queues.items())},
        "dead_letters": {
            each.dead_queue: dead_letters(state.broker, each.dead_queue) for each in CONSUMPTIONS
        },
        "broker_nodes": [_node(node) for node in state.broker.nodes],
        "store": _server(state, store.server),
        "further_stores": {
            name: {"state": "unusable" if reason else "running", "reason": reason}
            for name, reason in state.further_stores.items()
        },
        "services": {service.name: _service(service) for service in state.services},
        "attention": attention(state),
        "flow": flow(state),
        "as_of": _as_of(store, state.broker),
        **{name: known for name, (subject, known) in asked.items() if subject is not None},
    }


def _as_of(store: StoreState, broker: BrokerState) -> dict[str, Any]:
    age = None if broker.age_seconds is None else round(broker.age_seconds, 3)
    return {"store": store.read_at, "brokers": broker.observed_at, "brokers_age_seconds": age}


def _queue(queue: QueueState) -> dict[str, Any]:
    return {
        "ready": queue.ready,
        "unacked": queue.unacked,
        "consumers": queue.consumers,
        "members": len(queue.members),
        "online": len(queue.online),
        "leader": queue.leader,
    }


def _node(node: NodeState) -> dict[str, Any]:
    return {
        "node": node.node,
        "state": node.status.value,
        "alarms": node.alarms,
        "memory_bytes": node.memory_bytes,
        "uptime_seconds": node.uptime_seconds,
    }


def _server(state: PipelineState, server: StoreServer | None) -> dict[str, Any]:
    told = {"state": "unusable" if state.store_reason else "running", "reason": state.store_reason}
    if server is None:
        return told
    return told | {
        "memory_bytes": server.memory_bytes,
        "memory_limit_bytes": server.memory_limit_bytes,
        "is_writing": server.is_writing,
    }


def _service(service: ServiceState) -> dict[str, Any]:
    return {
        "ready": service.is_ready,
        "replicas": service.replicas,
        "replicas_ready": service.ready,
        "reasons": {"service": service.silence} if service.silence else service.faults,
    }
