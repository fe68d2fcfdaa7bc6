"""Reading the records of orders, and counting those that are not done with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from shared import keyspace
from shared.errors import DecodeError
from shared.logs import get_logger
from shared.messages import Order
from shared.orders.model import OrderStatus, Trouble
from shared.orders.records import FIELDS, OrderRecord, read_record
from shared.prices import Prices, read_prices
from shared.redis.client import Redis, broken_is_absent, is_away, round_trip

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """Orders at one instant: neither decided nor dead; decided or moved, and the customer still to be told;
    accepted or moved, and not known to be in a queue; with something left to be done about their payment."""

    undecided: int
    untold: int
    outbox: int
    unpaid: int = 0

    def __bool__(self) -> bool:
        return bool(self.undecided or self.untold or self.outbox or self.unpaid)


async def count_unfinished(redis: Redis) -> Unfinished:
    """How many orders are under way. Raises RedisError if the store is away."""
    accepted, dead = keyspace.orders_in(OrderStatus.ACCEPTED), keyspace.orders_in(Trouble.DEAD)
    async with redis.pipeline(transaction=True) as pipeline:
        for index in (
            accepted,
            dead,
            keyspace.UNTOLD,
            keyspace.OUTBOX,
            keyspace.MOVES,
            keyspace.PAYMENTS_DUE,
        ):
            _ = pipeline.zcard(index)
        undecided, given_up, untold, outbox, moves, unpaid = await pipeline.execute()
    return Unfinished(undecided=undecided - given_up, untold=untold, outbox=outbox + moves, unpaid=unpaid)


async def fetch_records(redis: Redis, order_ids: Sequence[str]) -> list[OrderRecord | None]:
    """The records of several orders in one round trip, in order. Raises RedisError if the store is away.

    A record that cannot be read is logged and counts as absent: it must not hide the others.
    """
    if not order_ids:
        return []
    found = await round_trip(redis, [("HMGET", keyspace.order(each), *FIELDS) for each in order_ids])
    return [_readable(order_id, values) for order_id, values in zip(order_ids, found, strict=True)]


def readable_prices(order: Order, text: str) -> Prices | None:
    """The prices of a record. None where it has none; what makes no sense is logged and counts as none."""
    try:
        return read_prices(text, len(order.items))
    except DecodeError as error:
        log.error("unreadable prices", order_id=order.id, error=str(error))
        return None


async def fetch_notification(redis: Redis, order_id: str) -> dict[str, str]:
    """The fields of ``notifications:{order id}``, none where something else lies there. Raises as above."""
    told: Any = {}
    with broken_is_absent():
        told = await redis.hgetall(keyspace.notifications(order_id))
    return {str(name): str(value) for name, value in told.items()}


def _readable(order_id: str, found: Any) -> OrderRecord | None:
    if isinstance(found, RedisError):
        if is_away(found):
            raise found
        log.error("unreadable order record", order_id=order_id, error=str(found))
        return None
    fields = {name: value for name, value in zip(FIELDS, found, strict=True) if value is not None}
    try:
        return read_record(fields) if fields else None
    except DecodeError as error:
        log.error("unreadable order record", order_id=order_id, error=str(error))
        return None
