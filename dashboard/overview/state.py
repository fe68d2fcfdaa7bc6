"""The state of the pipeline, as far as the dashboard knows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from shared.keyspace import NotificationStatus
from shared.orders.model import OrderStatus, Trouble
from shared.orders.records import OrderRecord
from shared.pipeline import QUORUM_SIZE
from shared.services import CACHE, DATABASE, SERVICES, STORE


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreServer:
    """How the store itself is. ``memory_limit_bytes`` is 0 where it may take what the machine has."""

    memory_bytes: int
    memory_limit_bytes: int
    clients: int
    commands: int
    is_writing: bool
    """Whether its last write to disk succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    """What the store says, the orders' figures all read at one moment.

    A figure is None where its key holds something else than a figure. The ages of the oldest in the outbox
    and of the oldest untold decision are None where there is none; ``oldest_seconds`` has the statuses that
    are not final and in which an order waits. ``server`` is None where the store does not tell.
    """

    read_at: datetime
    processed: int | None
    orders: Mapping[OrderStatus, int | None]
    trouble: Mapping[Trouble, int | None]
    notifications: Mapping[NotificationStatus, int | None]
    outbox: int | None
    outbox_oldest_seconds: float | None
    oldest_seconds: Mapping[OrderStatus | Trouble, float]
    untold: int | None
    """Decisions whose customer is yet to be told, without those that were given up."""
    untold_oldest_seconds: float | None
    unpaid: int | None
    """Orders about whose payment something is left to be done."""
    unpaid_late_seconds: float | None
    """How long ago that was due for the first of them; None where it is not due yet."""
    log_entries: int
    """Steps of orders that are kept in the log."""
    unwritten_oldest_seconds: float | None
    """The age of the oldest of them that the ledger has not written; None where it has all."""
    unpromised_oldest_seconds: float | None
    """The same of those that webhooks has not promised to receivers."""
    server: StoreServer | None
    inventory: Mapping[str, int | None]
    """The first SKUs by name; ``skus`` is how many there are."""
    skus: int

    @property
    def undecided(self) -> int | None:
        """All orders that wait for their decision, those in trouble included."""
        return self.orders[OrderStatus.ACCEPTED]

    @property
    def undecided_oldest_seconds(self) -> float | None:
        """The age of the oldest of them that is in no trouble."""
        return self.oldest_seconds.get(OrderStatus.ACCEPTED)


class NodeStatus(StrEnum):
    """Whether a broker node can be used.

    ``unreachable`` means that it seems to run, but we or its peers get no answer from it, as when it is
    frozen or cut off. ``unknown`` means that nobody answered who could tell.
    """

    RUNNING = "running"
    NOT_RUNNING = "not_running"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """One broker node. ``alarms`` are those under which the brokers stall publishers."""

    node: str
    status: NodeStatus
    alarms: Sequence[str] = ()
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    uptime_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """One queue. A count is None until the brokers have gathered it; members are names of nodes."""

    name: str
    ready: int | None = None
    unacked: int | None = None
    consumers: int | None = None
    members: Sequence[str] = ()
    online: Sequence[str] = ()
    leader: str | None = None
    is_leaderless: bool = False

    @property
    def messages(self) -> int | None:
        """All that it holds, delivered ones included."""
        known = [count for count in (self.ready, self.unacked) if count is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerState:
    """What the brokers said last. The figures of queues are as old as ``age_seconds`` says.

    ``observed_at`` and ``age_seconds`` are None while no node has answered yet. ``silence`` tells why
    endpoints of the management interface give no answer, by host and port. ``members_needed`` is how many
    members a queue has where all is well.
    """

    nodes: Sequence[NodeState]
    queues: Mapping[str, QueueState]
    observed_at: datetime | None
    age_seconds: float | None
    silence: Mapping[str, str]
    members_needed: int = QUORUM_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """What a service said of itself last, by all of its replicas.

    ``faults`` say why those that are not ready are not, by dependency, in the words of their ``/readyz``;
    ``silence``, why none of them answers. One that has not been asked yet has neither replicas nor silence.
    """

    name: str
    replicas: int = 0
    ready: int = 0
    faults: Mapping[str, str] = field(default_factory=dict)
    silence: str | None = None

    @property
    def is_ready(self) -> bool:
        """Whether every replica can do its work."""
        return self.ready == self.replicas > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineState:
    """Everything together. ``store`` is None while the store is away; then ``store_fault`` says why."""

    store: StoreState | None
    store_fault: str | None
    broker: BrokerState
    services: Sequence[ServiceState] = ()
    cache_fault: str | None = None
    short_disks: Mapping[str, int] = field(default_factory=dict)
    """The free bytes of each disk that has too few, by what is on it."""

    @property
    def further_stores(self) -> Mapping[str, str | None]:
        """The stores beside Redis that services need, each with the reason why it cannot be used, or None.

        Of PostgreSQL the services tell that have a database in it.
        """
        told = (service.faults[DATABASE] for service in self.services if DATABASE in service.faults)
        faults = {CACHE: self.cache_fault, DATABASE: next(told, None)}
        needed = {need for service in SERVICES.values() for need in service.needs}
        return {name: fault for name, fault in faults.items() if name in needed}

    @property
    def store_reason(self) -> str | None:
        """Why the store cannot be used: it does not answer here, or a service cannot work with it."""
        told = (service.faults[STORE] for service in self.services if STORE in service.faults)
        return self.store_fault or next(told, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a caller asked about in particular, if anything."""

    sku: str | None = None
    order_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What there is to say about the question; None where it was not asked or nothing is known."""

    inventory_level: int | None = None
    order: OrderRecord | None = None
    notification: Mapping[str, str] = field(default_factory=dict)
    """The fields of ``notifications:{order id}``."""

    @property
    def notification_status(self) -> str | None:
        """Where the latest notification stands."""
        return self.notification.get("status")

    @property
    def is_unconfirmed(self) -> bool:
        """Whether a letter about it went out and its receiver has not said what became of it."""
        return "unconfirmed" in self.notification
