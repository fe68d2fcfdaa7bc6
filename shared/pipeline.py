"""THE map: every exchange, queue and binding, and who consumes what.

::

    api_gateway ──order.placed──> orders.direct ──> orders.queue ──> order_processor
                                                       │   ▲              │
                                            poison ────┤   └─ orders.retry.{1,5,30,120,600}
                                                       ▼                  │
                                                  orders.dead             │
                                                                          │ order.created, order.rejected
                                                                          ▼
        notifier <── notifier.queue <──order.*── orders.topic <───────────┘
           │             │   ▲
           │  poison ────┤   └─ notifier.retry.{1,5,30,120,600}
           ▼             ▼
       customer     notifier.dead

Topology, routers, documentation and tests derive from the declarations below. Queue arguments can never
change under the same name on kept data (the broker answers 406), so they are settled here for good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.messages import EventData, OrderCreated, OrderPlaced, OrderRejected

RETRY_TIERS_SECONDS: Final = (1, 5, 30, 120, 600)
QUORUM_SIZE: Final = 3
BROKER_DELIVERY_LIMIT: Final = 20
"""The broker's own backstop against poison; the router steps in earlier, see ``messaging.retry``."""
UNLIMITED_DELIVERIES: Final = 2_147_483_647
"""As large as the broker takes. -1 drops at the first requeue on 3.10; no limit means 20 from 4.0 on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A durable exchange."""

    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A durable quorum queue with arguments that never change."""

    name: str
    arguments: Mapping[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Messages of ``exchange`` whose routing key matches go to ``queue``."""

    exchange: str
    queue: str
    routing_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumption:
    """One service's input: its queue, and where its failed messages wait or end."""

    service: str
    queue: str
    dead_queue: str
    retry_prefix: str

    def retry_queue(self, tier_seconds: int) -> str:
        """The queue in which a message waits ``tier_seconds`` at the longest before it comes back."""
        return f"{self.retry_prefix}.{tier_seconds}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where an event is published."""

    exchange: str
    routing_key: str


ORDERS_EXCHANGE: Final = Exchange(name="orders.direct", type="direct")
EVENTS_EXCHANGE: Final = Exchange(name="orders.topic", type="topic")
EXCHANGES: Final = (ORDERS_EXCHANGE, EVENTS_EXCHANGE)

ORDER_PROCESSOR: Final = Consumption(
    service="order_processor", queue="orders.queue", dead_queue="orders.dead", retry_prefix="orders.retry"
)
NOTIFIER: Final = Consumption(
    service="notifier", queue="notifier.queue", dead_queue="notifier.dead", retry_prefix="notifier.retry"
)
CONSUMPTIONS: Final = (ORDER_PROCESSOR, NOTIFIER)

BINDINGS: Final = (
    Binding(exchange=ORDERS_EXCHANGE.name, queue=ORDER_PROCESSOR.queue, routing_key="order.placed"),
    Binding(exchange=EVENTS_EXCHANGE.name, queue=NOTIFIER.queue, routing_key="order.*"),
)

ROUTES: Final[Mapping[type[EventData], Route]] = {
    OrderPlaced: Route(exchange=ORDERS_EXCHANGE.name, routing_key="order.placed"),
    OrderCreated: Route(exchange=EVENTS_EXCHANGE.name, routing_key="order.created"),
    OrderRejected: Route(exchange=EVENTS_EXCHANGE.name, routing_key="order.rejected"),
}


def queues() -> Sequence[Queue]:
    """Every queue, in an order in which dead-letter targets come before those that point at them."""
    return [queue for consumption in CONSUMPTIONS for queue in _queues_of(consumption)]


def _queues_of(consumption: Consumption) -> list[Queue]:
    dead = Queue(
        name=consumption.dead_queue,
        arguments=_quorum_arguments(UNLIMITED_DELIVERIES),
    )
    main = Queue(
        name=consumption.queue,
        arguments=_quorum_arguments(BROKER_DELIVERY_LIMIT) | _dead_letters_to(dead.name),
    )
    tiers = [
        Queue(
            name=consumption.retry_queue(seconds),
            arguments=_quorum_arguments(UNLIMITED_DELIVERIES)
            | _dead_letters_to(main.name)
            | {"x-message-ttl": seconds * 1000},
        )
        for seconds in RETRY_TIERS_SECONDS
    ]
    return [dead, main, *tiers]


def _quorum_arguments(delivery_limit: int) -> dict[str, str | int]:
    return {
        "x-queue-type": "quorum",
        "x-quorum-initial-group-size": QUORUM_SIZE,
        "x-delivery-limit": delivery_limit,
        "x-overflow": "reject-publish",
    }


def _dead_letters_to(queue: str) -> dict[str, str | int]:
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
    }
