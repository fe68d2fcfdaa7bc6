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
       customer     notifier.dead         and in the same way every consumer that is added

        catalogue, accounts ──product.*, user.*──> shop.topic ──> whatever binds a queue of its own to it

A consumer more is a row of CONSUMPTIONS and a package of its name. Topology, routers, the registry of
services, documentation and tests derive from the declarations below. Queue arguments can never change under
the same name on kept data (the broker answers 406), so they are settled here for good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

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
    """One row of the map: a service that consumes, what it gets, and what its queues and settings are called.

    A message of ``exchange`` whose key matches ``routing_key`` reaches it. The names of its queues begin with
    ``queues``, those of its environment variables with ``settings``. ``work`` is what it does for an order,
    in the words of timelines: a letter of the notifier's that is redriven is a ``notification_redriven``.
    ``needs_database`` says that it has a SQL database of its own.
    """

    service: str
    work: str
    exchange: Exchange
    routing_key: str
    queues: str
    settings: str
    operations_port: int
    needs_database: bool = False

    @property
    def queue(self) -> str:
        """Where its messages arrive."""
        return f"{self.queues}.queue"

    @property
    def dead_queue(self) -> str:
        """Where those end that cannot succeed."""
        return f"{self.queues}.dead"

    @property
    def retry_prefix(self) -> str:
        """What the names of its retry tiers begin with."""
        return f"{self.queues}.retry"

    def takes(self, event_type: str) -> bool:
        """Whether events of this type reach its queue."""
        route = ROUTES.get(event_type)
        return (
            route is not None
            and route.exchange == self.exchange.name
            and matches(self.routing_key, route.routing_key)
        )

    def retry_queue(self, tier_seconds: int) -> str:
        """The queue in which a message waits ``tier_seconds`` at the longest before it comes back."""
        return f"{self.retry_prefix}.{tier_seconds}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRoute:
    """Where an event is published, and by which services, which have the right to.

    One that is not ``mandatory`` is confirmed although no queue takes it.
    """

    exchange: str
    routing_key: str
    publishers: tuple[str, ...]
    mandatory: bool = True


ORDERS_EXCHANGE: Final = Exchange(name="orders.direct", type="direct")
EVENTS_EXCHANGE: Final = Exchange(name="orders.topic", type="topic")
SHOP_EXCHANGE: Final = Exchange(name="shop.topic", type="topic")
EXCHANGES: Final = (ORDERS_EXCHANGE, EVENTS_EXCHANGE, SHOP_EXCHANGE)

CONSUMPTIONS: Final = (
    Consumption(
        service="order_processor",
        work="decision",
        exchange=ORDERS_EXCHANGE,
        routing_key="order.placed",
        queues="orders",
        settings="PROCESSOR",
        operations_port=9101,
    ),
    Consumption(
        service="notifier",
        work="notification",
        exchange=EVENTS_EXCHANGE,
        routing_key="order.*",
        queues="notifier",
        settings="NOTIFIER",
        operations_port=9102,
    ),
)

RETIRED: Final = (
    Consumption(
        service="webhooks",
        work="webhook",
        exchange=EVENTS_EXCHANGE,
        routing_key="order.*",
        queues="webhooks",
        settings="WEBHOOKS",
        operations_port=9106,
    ),
)
"""Consumers of earlier versions, whose queues are taken out. Services of those versions, which declare them,
run beside those of this one while it is rolled out."""


def bindings(consumptions: Sequence[Consumption]) -> Sequence[Binding]:
    """What leads messages to these consumers."""
    return tuple(
        Binding(exchange=each.exchange.name, queue=each.queue, routing_key=each.routing_key)
        for each in consumptions
    )


BINDINGS: Final = bindings(CONSUMPTIONS)

DEAD_LETTER_DESK: Final = "dashboard"
"""The service that looks into every dead-letter queue, sends letters back, and announces what it drops."""

ROUTES: Final[Mapping[str, EventRoute]] = {
    "order.placed.v1": EventRoute(
        exchange=ORDERS_EXCHANGE.name, routing_key="order.placed", publishers=("api_gateway",)
    ),
    **{
        f"{key}.v1": EventRoute(
            exchange=EVENTS_EXCHANGE.name, routing_key=key, publishers=("order_processor", DEAD_LETTER_DESK)
        )
        for key in ("order.created", "order.rejected")
    },
    **{
        f"{key}.v1": EventRoute(exchange=EVENTS_EXCHANGE.name, routing_key=key, publishers=("api_gateway",))
        for key in ("order.processing", "order.shipped", "order.delivered", "order.cancelled")
    },
}
"""By the type of the event of an order."""

SHOP_ROUTES: Final[Mapping[str, EventRoute]] = {
    f"{key}.v1": EventRoute(
        exchange=SHOP_EXCHANGE.name, routing_key=key, publishers=(publisher,), mandatory=False
    )
    for publisher, keys in (
        ("catalogue", ("product.created", "product.updated", "product.deleted", "product.stock_updated")),
        ("accounts", ("user.created", "user.updated", "user.deleted", "user.login")),
    )
    for key in keys
}
"""By the type of the event of a product or of a customer."""


def matches(pattern: str, routing_key: str) -> bool:
    """Topic matching as far as the pipeline's bindings use it: ``*`` stands for one word."""
    wanted, given = pattern.split("."), routing_key.split(".")
    return len(wanted) == len(given) and all(
        each in ("*", word) for each, word in zip(wanted, given, strict=True)
    )


def consumption_of(service: str) -> Consumption:
    """The row of one service."""
    return next(each for each in CONSUMPTIONS if each.service == service)


ORDER_PROCESSOR: Final = consumption_of("order_processor")
NOTIFIER: Final = consumption_of("notifier")


def queues(consumptions: Sequence[Consumption] = CONSUMPTIONS) -> Sequence[Queue]:
    """Every queue, in an order in which dead-letter targets come before those that point at them."""
    return [queue for consumption in consumptions for queue in _queues_of(consumption)]


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
