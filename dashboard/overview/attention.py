"""What an operator should look at, in plain sentences: one for each cause, not for all that it spoils.

Each says what is wrong, then what helps, as a command that can be pasted where there is one. The page,
``/attention``, ``orderctl status`` and ``orderctl doctor`` all have their sentences from here.
"""

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

from dashboard.overview.brokers import INTAKES
from dashboard.overview.state import (
    BrokerState,
    NodeState,
    NodeStatus,
    PipelineState,
    QueueState,
    ServiceState,
    StoreState,
)
from shared.messaging.rabbitmq.management import short_name
from shared.orders.model import Trouble
from shared.pipeline import CONSUMPTIONS, NOTIFIER, ORDER_PROCESSOR, queues
from shared.services import BROKER, CACHE, DATABASE, STORE

ORDERCTL: Final = ".venv/bin/orderctl"
OLD_OUTBOX_SECONDS: Final = 30.0
OLD_UNDECIDED_SECONDS: Final = 60.0
OLD_UNTOLD_SECONDS: Final = 900.0
OLD_UNPAID_SECONDS: Final = 120.0
"""Longer than all of the retry tiers together."""
OLD_UNREAD_SECONDS: Final = 60.0
LEDGER: Final = "ledger"
WEBHOOKS: Final = "webhooks"
GATEWAY: Final = "api_gateway"
OLD_BROKER_FIGURES_SECONDS: Final = 10.0
NEARLY_FULL: Final = 0.8
_SHOWN: Final = 5
CONSUMER: Final = "consumer"
_NEEDS_BROKERS: Final = frozenset({BROKER, CONSUMER, "brokers"})
UNANSWERED: Final = "did not answer"
"""In the reason for which a store cannot be used: its process may run, and hang."""
_STORES: Final = frozenset({STORE, CACHE, DATABASE})
_ALARMS: Final = {
    "disk": ": orders wait in the outbox. Make room on its disk; it goes on by itself",
    "memory": ": orders wait in the outbox. Give it memory, or let its queues empty; it goes on by itself",
}


class Flow(StrEnum):
    """What becomes of an order that is placed now."""

    FLOWING = "flowing"
    WAITING = "waiting"
    REFUSED = "refused"


def flow(state: PipelineState) -> Flow:
    """Whether orders are accepted, and decided."""
    idle = {each.name: each for each in state.services if each.silence or (each.replicas and not each.ready)}
    gateway = idle.get(GATEWAY)
    if state.store_reason or (gateway and (gateway.silence or gateway.faults.keys() - _NEEDS_BROKERS)):
        return Flow.REFUSED  # without brokers it accepts orders all the same
    if ORDER_PROCESSOR.service in idle or not (_majority_runs(state.broker) or _unknown(state.broker)):
        return Flow.WAITING
    return Flow.FLOWING


def attention(state: PipelineState) -> list[str]:
    """Everything that is not as it should be, the gravest first; empty when all is well."""
    unready = {service.name for service in state.services if not service.is_ready}
    reason = (state.store_fault or "").removeprefix("Redis: ").rstrip(".")
    cache = state.further_stores.get(CACHE)
    away = f"Redis: {reason}{_start(STORE, reason)}"
    return [
        *disk_faults(state.short_disks),
        *([away] if state.store_fault else []),
        *([f"cache: {cache}{_start(CACHE, cache)}"] if cache else []),
        *service_faults(state),
        *node_faults(state.broker),
        *queue_faults(state.broker, excused=unready),
        *(_of_store(state.store) if state.store else []),
        *(_old_orders(state.store, state.broker, excused=unready) if state.store else []),
        *(_unread_steps(state.store, excused=unready) if state.store else []),
        *(_dead_orders(state.store, state.broker) if state.store else []),
    ]


def disk_faults(short_disks: Mapping[str, int]) -> list[str]:
    """One sentence per disk with too little room, by what is on it and its free bytes."""
    advice = f"without room, orders wait or are refused. Make room on it, then: {ORDERCTL} up"
    return [
        f"The disk of {parts} has {free // 1024**2} MiB left; {advice}" for parts, free in short_disks.items()
    ]


def service_faults(state: PipelineState) -> list[str]:
    """One sentence per reason for which services cannot work, but for what store and brokers explain."""
    explained = (frozenset({STORE}) if state.store_fault else frozenset()) | (
        frozenset() if _majority_runs(state.broker) else _NEEDS_BROKERS
    )
    services: dict[str, dict[str, str]] = {}
    for service in state.services:
        for dependency, reason in service.faults.items():
            if dependency not in explained and not (dependency == CONSUMER and BROKER in service.faults):
                advice = _start(dependency, reason) if dependency in _STORES else _logs(service.name)
                services.setdefault(f"{dependency}: {reason}", {})[_named(service)] = advice
    return [
        *(
            f"{service.name}: {service.silence}. Start it: {ORDERCTL} start {service.name}"
            for service in state.services
            if service.silence
        ),
        *(
            f"{', '.join(advice)}: not ready: {reason}{next(iter(advice.values()))}"
            for reason, advice in services.items()
        ),
    ]


def _start(store: str, reason: str) -> str:
    if UNANSWERED in reason:
        return _restart(store)
    return f". If it does not run: {ORDERCTL} start {store}"


def _logs(service: str) -> str:
    return f". See the log: {ORDERCTL} logs {service}"


def _restart(part: str) -> str:
    """For one that runs and hangs."""
    return f". If that lasts: {ORDERCTL} kill {part}; {ORDERCTL} start {part}"


def node_faults(broker: BrokerState) -> list[str]:
    """One sentence per broker node that is down, cut off or in alarm, or one about all of them."""
    if _silent(broker):
        reasons = (f"{endpoint}: {reason}" for endpoint, reason in broker.silence.items())
        return [f"No broker's management interface answers ({'; '.join(reasons)}). Start them: {ORDERCTL} up"]
    return [fault for node in broker.nodes for fault in _of_node(node)]


def queue_faults(broker: BrokerState, *, excused: Collection[str] = ()) -> list[str]:
    """One sentence per thing that is wrong with queues, as far as the brokers have told of late.

    What a node that is down explains is not said again, nor that an ``excused`` service does not consume.
    """
    if broker.age_seconds is None and not _silent(broker):
        return ["The brokers have not told about the queues yet"]
    if _silent(broker):
        return []
    if is_old(broker):
        age = f"{broker.age_seconds:.0f} s old"
        return [f"The figures of the queues are {age}. See which node is silent: {ORDERCTL} status"]
    return [
        *_incomplete_queues(broker),
        *(_unread_queues(broker, excused) if _majority_runs(broker) else ()),
        *(
            f"Dead letters of {each.service} in {each.dead_queue}: {letters:,}. See why: {ORDERCTL} dead list"
            for each in CONSUMPTIONS
            if (letters := dead_letters(broker, each.dead_queue))
        ),
    ]


def is_old(broker: BrokerState) -> bool:
    """Whether the figures of the queues say nothing about now."""
    return broker.age_seconds is None or broker.age_seconds > OLD_BROKER_FIGURES_SECONDS


def dead_letters(broker: BrokerState, dead_queue: str) -> int | None:
    """How many lie in a dead-letter queue, those that are being looked at included; None where not known."""
    queue = broker.queues.get(dead_queue)
    return None if queue is None else queue.messages


def _silent(broker: BrokerState) -> bool:
    return bool(broker.nodes) and all(node.status is NodeStatus.UNKNOWN for node in broker.nodes)


def _unknown(broker: BrokerState) -> bool:
    """Whether no management interface answered so far; the brokers may do well."""
    return not broker.nodes or _silent(broker)


def _majority_runs(broker: BrokerState) -> bool:
    return 2 * sum(node.status is NodeStatus.RUNNING for node in broker.nodes) > len(broker.nodes)


def _named(service: ServiceState) -> str:
    unready = service.replicas - service.ready
    return service.name if service.replicas == 1 else f"{unready} of {service.replicas} × {service.name}"


def _of_node(node: NodeState) -> Iterator[str]:
    part = _part(node.node)
    if node.status is NodeStatus.NOT_RUNNING:
        yield f"Broker node {node.node} does not run. Start it: {ORDERCTL} start {part}"
    if node.status is NodeStatus.UNREACHABLE:
        yield f"Broker node {node.node} does not answer, or its peers do not see it{_restart(part)}"
    for alarm in node.alarms:
        advice = _ALARMS.get(alarm) or _restart(part)
        yield f"Broker node {node.node} has a {alarm} alarm{advice}"


def _part(node: str) -> str:
    """The name under which orderctl knows a node: of ``rabbitmq1@localhost`` as of ``rabbit@rabbitmq1``."""
    name = short_name(node)
    return name if name != "rabbit" else node.partition("@")[2]


def _incomplete_queues(broker: BrokerState) -> Iterator[str]:
    consumed = {consumption.queue for consumption in CONSUMPTIONS}
    names = sorted((queue.name for queue in queues()), key=lambda name: name not in consumed)
    found = [broker.queues[name] for name in names if name in broker.queues]
    down = {node.node for node in broker.nodes if node.status is not NodeStatus.RUNNING}
    offline = sorted({node for queue in found if not queue.is_leaderless for node in _offline(queue) - down})
    faults = [
        (
            "Queues that do not exist",
            [name for name in names if name not in broker.queues],
            f". Bring back what was in them: {ORDERCTL} verify --republish",
        ),
        (
            "Queues without a leader, so that nothing goes in or out",
            [queue.name for queue in found if queue.is_leaderless and 2 * len(down) < len(queue.members)],
            f". Start what is missing: {ORDERCTL} up",
        ),
        (
            f"Queues with fewer than {broker.members_needed} members",
            [queue.name for queue in found if len(queue.members) < broker.members_needed],
            f". Grow them: {ORDERCTL} up",
        ),
        (
            "Queues with a member offline",
            [queue.name for queue in found if not queue.is_leaderless and _offline(queue) - down],
            "".join(_restart(_part(node)) for node in offline[:1]),
        ),
    ]
    return (f"{what}: {listed(names)}{advice}" for what, names, advice in faults if names)


def _offline(queue: QueueState) -> set[str]:
    return set(queue.members) - set(queue.online)


def _unread_queues(broker: BrokerState, excused: Collection[str]) -> Iterator[str]:
    for consumption in CONSUMPTIONS:
        queue = broker.queues.get(consumption.queue)
        if queue is not None and queue.consumers == 0 and consumption.service not in excused:
            yield f"Nothing consumes {queue.name}{_logs(consumption.service)}"


def _of_store(store: StoreState) -> Iterator[str]:
    server = store.server
    if server is not None and server.memory_bytes > server.memory_limit_bytes * NEARLY_FULL > 0:
        share = 100 * server.memory_bytes / server.memory_limit_bytes
        used = f"Redis uses {share:.0f} % of its memory; once it is full, no order is accepted"
        yield f"{used}. Raise its maxmemory, or shorten ORDER_RETENTION_SECONDS"
    if server is not None and not server.is_writing:
        yield "Redis cannot write to its disk. Make room on it; it goes on by itself"
    if (store.outbox_oldest_seconds or 0) > OLD_OUTBOX_SECONDS:
        waited = f"has waited {store.outbox_oldest_seconds:.0f} s for a broker"
        yield f"The outbox holds an order that {waited}{_logs(GATEWAY)}"
    negative = [sku for sku, available in store.inventory.items() if available is not None and available < 0]
    if negative:
        yield f"Stock below zero: {listed(negative)}{_set_stock(negative[0])}"
    broken = [sku for sku, available in store.inventory.items() if available is None]
    if broken:
        yield f"Stock that is no whole number: {listed(broken)}{_set_stock(broken[0])}"


def _set_stock(sku: str) -> str:
    return f". Set it: {ORDERCTL} inventory set {shlex.quote(sku)} QTY"


def _old_orders(store: StoreState, broker: BrokerState, *, excused: Collection[str]) -> Iterator[str]:
    """Orders and customers that wait for too long, where neither brokers nor their own service explain it."""
    if not _majority_runs(broker) and not _silent(broker):
        return
    undecided = store.undecided_oldest_seconds or 0.0
    is_held = (store.outbox_oldest_seconds or 0) > OLD_OUTBOX_SECONDS
    is_explained = is_held or any(each.service in excused for each in INTAKES)
    if undecided > OLD_UNDECIDED_SECONDS and not is_explained:
        waited = f"the oldest has waited {undecided:.0f} s{_logs(ORDER_PROCESSOR.service)}"
        yield f"Orders without a decision: {store.undecided:,}; {waited}"
    late = store.unpaid_late_seconds or 0.0
    if late > OLD_UNPAID_SECONDS and ORDER_PROCESSOR.service not in excused:
        due = f"the first has been due for {late:.0f} s{_logs(ORDER_PROCESSOR.service)}"
        yield f"Payments that nobody sees to: {store.unpaid:,}; {due}"
    untold = store.untold_oldest_seconds or 0.0
    if untold > OLD_UNTOLD_SECONDS and NOTIFIER.service not in excused:
        waited = f"the oldest has waited {untold:.0f} s{_logs(NOTIFIER.service)}"
        yield f"Customers who have not been told: {store.untold:,}; {waited}"


def _unread_steps(store: StoreState, *, excused: Collection[str]) -> Iterator[str]:
    unwritten = store.unwritten_oldest_seconds or 0.0
    if unwritten > OLD_UNREAD_SECONDS and LEDGER not in excused:
        age = f"the oldest step that it has not written is {unwritten:.0f} s old"
        yield f"The ledger is behind: {age}. See how far: {ORDERCTL} ledger status"
    unpromised = store.unpromised_oldest_seconds or 0.0
    if unpromised > OLD_UNREAD_SECONDS and WEBHOOKS not in excused:
        age = f"the oldest step that it has not read is {unpromised:.0f} s old"
        yield f"Webhooks is behind: {age}{_logs(WEBHOOKS)}"


def _dead_orders(store: StoreState, broker: BrokerState) -> Iterator[str]:
    """Those that no dead letter accounts for: an order and its letter are one thing."""
    dead = store.trouble.get(Trouble.DEAD) or 0
    letters = 0 if is_old(broker) else sum(dead_letters(broker, each.dead_queue) or 0 for each in INTAKES)
    if dead > letters:
        yield f"Dead orders whose dead letter is not in sight: {dead - letters:,}. Look: {ORDERCTL} verify"


def listed(names: Sequence[str]) -> str:
    """The first of the names, and how many there are besides."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
