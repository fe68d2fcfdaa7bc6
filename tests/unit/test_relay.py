"""Confirmed orders leave the outbox in batches, whatever the store does meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from fakeredis import FakeServer

from api_gateway.relay import REMOVAL_BATCH, OutboxRemovals, Relay, RelayTimes
from shared.breaker import Breaker
from shared.messaging.memory import MemoryBroker
from shared.orders.redis.store import RedisOutbox
from shared.service.lifecycle import running
from tests.harness.examples import TRACE, an_order
from tests.harness.gateway import STORE_SECONDS, a_placement, age, order_store, outbox_of, relay_lease
from tests.harness.routing import InterruptiblePublisher
from tests.harness.spans import keeping_spans
from tests.harness.stores import store_in_process
from tests.harness.waiting import wait_until


class CountingOutbox(RedisOutbox):
    """An outbox that remembers how it was asked."""

    def __init__(self, redis: Any) -> None:
        super().__init__(redis, timeout_seconds=STORE_SECONDS)
        self.batches: list[int] = []

    async def remove(self, order_ids: Sequence[str]) -> None:
        """See RedisOutbox; takes a turn of the loop, as a network does."""
        await asyncio.sleep(0)
        await super().remove(order_ids)
        self.batches.append(len(order_ids))


@pytest.fixture
def server() -> FakeServer:
    """A store that a test can cut off."""
    return FakeServer()


@pytest.fixture
async def redis(server: FakeServer) -> AsyncIterator[Any]:
    """A client of that store."""
    async with store_in_process(server) as client:
        yield client


@pytest.fixture
def outbox(redis: Any) -> CountingOutbox:
    """The outbox of that store."""
    return CountingOutbox(redis)


async def filled(redis: Any, count: int) -> list[str]:
    """So many entries in the outbox."""
    order_ids = [f"o{number}" for number in range(count)]
    await redis.zadd("outbox", {order_id: number for number, order_id in enumerate(order_ids)})
    return order_ids


async def test_confirmed_orders_are_dropped_together(redis: Any, outbox: CountingOutbox) -> None:
    """One command for many orders, a thousand at most."""
    removals = OutboxRemovals(outbox)
    for order_id in await filled(redis, REMOVAL_BATCH + 5):
        removals.add(order_id)
    await removals.flush()
    assert outbox.batches == [REMOVAL_BATCH, 5]
    assert await outbox.size() == 0


async def test_they_are_dropped_in_the_background(redis: Any, outbox: CountingOutbox) -> None:
    """Nobody who places an order waits for it."""
    removals = OutboxRemovals(outbox)
    first, second = await filled(redis, 2)
    async with running(removals.run()):
        removals.add(first)
        await wait_until(lambda: outbox.batches == [1])
        removals.add(second)
        await wait_until(lambda: outbox.batches == [1, 1])
    assert await outbox.size() == 0


async def test_while_the_store_is_away_they_are_kept(
    redis: Any, server: FakeServer, outbox: CountingOutbox
) -> None:
    """What was confirmed meanwhile is dropped afterwards, all of it."""
    removals = OutboxRemovals(outbox)
    first, *others = await filled(redis, 5)
    server.connected = False
    async with running(removals.run()):
        removals.add(first)
        await asyncio.sleep(0)
        for order_id in others:
            removals.add(order_id)
        server.connected = True
        await wait_until(lambda: sum(outbox.batches) == 5)
    assert await outbox.size() == 0


async def test_two_flushes_at_once_drop_everything_once(redis: Any, outbox: CountingOutbox) -> None:
    """The last flush of a draining gateway may meet the one in the background."""
    removals = OutboxRemovals(outbox)
    for order_id in await filled(redis, 2 * REMOVAL_BATCH):
        removals.add(order_id)
    await asyncio.gather(removals.flush(), removals.flush())
    assert outbox.batches == [REMOVAL_BATCH] * 2
    assert await outbox.size() == 0


def relay_of(redis: Any, publisher: InterruptiblePublisher, breaker: Breaker) -> Relay:
    """One that hardly pauses."""
    return Relay(
        store=order_store(redis),
        outbox=outbox_of(redis),
        lease=relay_lease(redis),
        publisher=publisher,
        breaker=breaker,
        times=RelayTimes(minimum_age=4.0, pause=0.001),
    )


async def test_what_is_published_late_is_published_in_the_order_s_trace(redis: Any) -> None:
    """Of the request that is long over: the record has kept it."""
    publisher, breaker = InterruptiblePublisher(MemoryBroker()), Breaker(known_down=lambda: False)
    await order_store(redis).accept(a_placement(an_order("a")))
    await age(redis, "a", 5.0)
    with keeping_spans() as kept:
        async with running(relay_of(redis, publisher, breaker).run()):
            await wait_until(lambda: len(publisher.published) == 1)
    (span,) = kept.spans
    assert (span.name, f"00-{span.trace_id}-{span.parent_id}-01") == (
        "publish order.placed",
        TRACE.traceparent,
    )


async def test_a_relay_outlives_an_absent_store(redis: Any, server: FakeServer) -> None:
    """It goes on as soon as the store is back, and no order is left over."""
    publisher = InterruptiblePublisher(MemoryBroker())
    breaker = Breaker(known_down=lambda: False)
    await order_store(redis).accept(a_placement(an_order("a")))
    await age(redis, "a", 5.0)
    breaker.failed("no confirm")
    relay = relay_of(redis, publisher, breaker)
    server.connected = False
    async with running(relay.run()):
        for _ in range(20):
            await asyncio.sleep(0)
        assert publisher.published == []
        server.connected = True
        await wait_until(lambda: len(publisher.published) == 1)
        await wait_until(breaker.try_now, what="the relay's success to close the breaker")
