"""The gateway's use cases over a store and a broker, as tests need them."""

from typing import Any

from shared import keyspace
from shared.messages import Order
from shared.orders.placement import Placement
from shared.orders.redis.store import RedisOrderStore, RedisOutbox
from shared.prices import Cost
from shared.redis.client import Redis
from shared.redis.lease import Lease
from tests.harness.examples import TRACE, an_order
from tests.harness.stores import as_service

STORE_SECONDS = 5.0
JSON, TEXT = "application/json", "text/plain"


def order_store(
    redis: Redis, *, outbox_limit: int = 100, refuses_unknown_products: bool = False
) -> RedisOrderStore:
    """A store with the contract's claim TTL."""
    return RedisOrderStore(
        as_service(redis, "api_gateway"),
        timeout_seconds=STORE_SECONDS,
        claim_ttl_seconds=86_400,
        outbox_limit=outbox_limit,
        refuses_unknown_products=refuses_unknown_products,
    )


def outbox_of(redis: Redis) -> RedisOutbox:
    """The outbox of that store."""
    return RedisOutbox(as_service(redis, "api_gateway"), timeout_seconds=STORE_SECONDS)


def relay_lease(redis: Redis) -> Lease:
    """One more gateway's claim to relay."""
    return Lease(as_service(redis, "api_gateway"), keyspace.OUTBOX_LEASE, timeout_seconds=STORE_SECONDS)


def a_placement(
    order: Order | None = None,
    *,
    key: str | None = None,
    named: bool = True,
    media_type: str = JSON,
    currency: str | None = None,
    amount_total: int | None = None,
    customer: str | None = None,
    sent: Order | None = None,
    not_before: int | None = None,
) -> Placement:
    """A request for an order; ``named`` is False where the server made the id up."""
    return Placement(
        order=order or an_order(),
        client_named_id=named,
        idempotency_key=key,
        media_type=media_type,
        trace=TRACE,
        customer=customer,
        sent=sent,
        not_before=not_before,
        expected=Cost(currency=currency, amount_total=amount_total),
    )


async def age(redis: Any, order_id: str, seconds: float) -> None:
    """Makes an outbox entry older than it is."""
    await redis.zincrby(keyspace.OUTBOX, -round(seconds * 1_000_000), order_id)
