"""Stock, accepted orders and what was decided about them, as tests write and read them."""

from typing import Any

from shared import keyspace
from shared.messages import Event, Order, OrderPlaced, content_fingerprint, encode_order
from shared.orders.decisions import Decision
from shared.orders.model import OrderStatus, Trouble
from shared.orders.records import OrderRecord, read_record
from shared.orders.redis.decisions import RedisDecisionStore
from shared.redis.client import Redis
from tests.harness.examples import AT, TRACE, placed
from tests.harness.stores import as_service

A_CENTURY = 100 * 365 * 86_400.0


def store_recreating(redis: Redis, seconds: float) -> RedisDecisionStore:
    """A store that recreates orders whose message is younger than that."""
    return RedisDecisionStore(
        as_service(redis, "order_processor"), timeout_seconds=5.0, oldest_recreated_seconds=seconds
    )


async def stocked(redis: Any, **available: int | str) -> None:
    """Puts stock in, as an operator would by hand."""
    for sku, value in available.items():
        await redis.set(keyspace.inventory(sku), value)


async def accepted(redis: Any, order: Order, at: int = AT) -> Event[OrderPlaced]:
    """Writes what the gateway writes when it accepts an order, and returns its event."""
    await redis.hset(
        keyspace.order(order.id),
        mapping={
            "id": order.id,
            "status": "accepted",
            "order": encode_order(order),
            "fingerprint": content_fingerprint(order),
            "accepted_at": at,
            "correlation_id": TRACE.correlation_id,
            "timeline": f"{at}\taccepted\t\t\t",
        },
    )
    step = {"o": order.id, "n": 1, "t": "accepted", "at": at, "reason": "", "by": ""}
    await redis.xadd(keyspace.LOG, step)
    await redis.zadd(keyspace.orders_in(OrderStatus.ACCEPTED), {order.id: at})
    return placed(order, at=at)


async def decide_one(store: RedisDecisionStore, event: Event[OrderPlaced]) -> Decision:
    """The decision about one order."""
    (decision,) = await store.decide([event])
    return decision


async def record_of(redis: Any, order_id: str) -> OrderRecord:
    """The record as readers see it."""
    return read_record(await redis.hgetall(keyspace.order(order_id)))


async def indexes_of(redis: Any, order_id: str) -> list[str]:
    """The statuses in whose index an order stands."""
    return [
        status.value
        for status in (*OrderStatus, *Trouble)
        if await redis.zscore(keyspace.orders_in(status), order_id) is not None
    ]


async def everything(redis: Any) -> dict[str, object]:
    """All keys with their values, to see that nothing was written; a step that came twice is one step."""

    async def steps(key: str) -> list[tuple[str, ...]]:
        return list(dict.fromkeys(tuple(entry.values()) for _, entry in await redis.xrange(key)))

    readers: dict[str, Any] = {
        "string": redis.get,
        "hash": redis.hgetall,
        "set": redis.smembers,
        "list": lambda key: redis.lrange(key, 0, -1),
        "stream": steps,
        "zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
    }
    return {key: await readers[await redis.type(key)](key) for key in sorted(await redis.keys("*"))}


async def is_logged(redis: Any) -> bool:
    """Whether the log has every step of every timeline, and no other; one may have come twice."""
    timelines = {
        key.removeprefix(keyspace.order("")): await redis.hget(key, "timeline") or ""
        for key in await redis.keys(keyspace.order("*"))
    }
    told = {
        (order_id, number, *line.split("\t")[:3], (line.split("\t")[4:] or [""])[0])
        for order_id, timeline in timelines.items()
        for number, line in enumerate(timeline.splitlines(), 1)
    }
    entries = [entry for _, entry in await redis.xrange(keyspace.LOG)]
    assert {tuple(entry) for entry in entries} <= {("o", "n", "t", "at", "reason", "by")}
    return told == {
        (entry["o"], int(entry["n"]), entry["at"], entry["t"], entry["reason"], entry["by"])
        for entry in entries
    }
