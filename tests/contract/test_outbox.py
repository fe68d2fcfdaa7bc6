"""The outbox and its relay: confirmed orders leave it, forgotten ones are published, on both stores."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from api_gateway.relay import LEASE_SECONDS, RELAY_BATCH, OutboxRemovals, Relay, RelayTimes
from shared.breaker import Breaker
from shared.errors import BrokerUnavailable
from shared.messages import Event, EventData
from shared.messaging.memory import MemoryBroker
from shared.orders.redis.store import RedisOutbox
from shared.pipeline import ORDER_PROCESSOR
from shared.redis.client import Redis
from shared.redis.lease import Lease
from shared.service.lifecycle import running
from tests.harness.examples import TRACE, an_order
from tests.harness.gateway import a_placement, age, order_store, outbox_of, relay_lease
from tests.harness.routing import InterruptiblePublisher, event_of, messages_in
from tests.harness.waiting import wait_until

OLD = 5.0
QUEUE = ORDER_PROCESSOR.queue


@pytest.fixture
def outbox(redis: Redis) -> RedisOutbox:
    """The outbox of the store under test."""
    return outbox_of(redis)


def a_relay(
    redis: Redis,
    publisher: InterruptiblePublisher,
    *,
    lease: Lease | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Relay:
    """A relay of a gateway of its own, for entries older than four seconds."""
    return Relay(
        store=order_store(redis),
        outbox=outbox_of(redis),
        lease=lease or relay_lease(redis),
        publisher=publisher,
        breaker=Breaker(known_down=lambda: False),
        times=RelayTimes(minimum_age=4.0, pause=0.01),
        clock=clock,
    )


async def waiting(redis: Redis, *order_ids: str, seconds: float = OLD) -> None:
    """Orders that were accepted that long ago, one after the other, and never published."""
    store = order_store(redis, outbox_limit=100_000)
    for order_id in order_ids:
        await store.accept(a_placement(an_order(order_id)))
        await age(redis, order_id, seconds)


async def placed_events(broker: MemoryBroker) -> list[Event[EventData]]:
    """What has reached the processor's queue."""
    return [event_of(delivery.body) for delivery in await messages_in(broker, QUEUE)]


# --- the outbox ---------------------------------------------------------------------------------------------


async def test_entries_leave_by_name(redis: Redis, outbox: RedisOutbox) -> None:
    """What is not there any more is no error: two gateways may drop the same."""
    await waiting(redis, "a", "b", "c")
    await outbox.remove(["a", "c", "never"])
    assert await outbox.size() == 1
    assert [order_id for order_id, _ in await outbox.older_than(0.0, 0, 10)] == ["b"]


async def test_only_entries_that_are_old_enough_are_named_oldest_first(
    redis: Redis, outbox: RedisOutbox
) -> None:
    """Younger ones belong to the request that wrote them."""
    await waiting(redis, "young", seconds=0.0)
    await waiting(redis, "old", seconds=10.0)
    await waiting(redis, "older", seconds=20.0)
    found = await outbox.older_than(4.0, 0, 10)
    assert [order_id for order_id, _ in found] == ["older", "old"]
    (first, at), _ = found
    assert [order_id for order_id, _ in await outbox.older_than(4.0, at, 10)] == ["old"]
    assert await outbox.older_than(4.0, 0, 1) == [(first, at)]


# --- the relay ----------------------------------------------------------------------------------------------


async def test_old_entries_are_published_and_leave(redis: Redis, outbox: RedisOutbox) -> None:
    """The very message that the request would have published, with its time and its trace."""
    await waiting(redis, "a", "b")
    await waiting(redis, "young", seconds=0.0)
    broker = MemoryBroker()
    assert await a_relay(redis, InterruptiblePublisher(broker)).relay_once() == 2
    events = await placed_events(broker)
    assert [event.id for event in events] == ["a:order.placed.v1", "b:order.placed.v1"]
    record = await order_store(redis).get("a")
    assert record is not None
    assert (events[0].time, events[0].trace, events[0].data.order) == (
        record.accepted_at,
        TRACE,
        record.order,
    )
    assert await outbox.size() == 1


async def test_more_than_a_page_is_relayed_in_one_round(redis: Redis, outbox: RedisOutbox) -> None:
    """After an outage the backlog leaves at once, not a page per pause."""
    count = RELAY_BATCH + 10
    await waiting(redis, *(f"o{number}" for number in range(count)))
    broker = MemoryBroker()
    assert await a_relay(redis, InterruptiblePublisher(broker)).relay_once() == count
    assert (broker.depth(QUEUE), await outbox.size()) == (count, 0)


async def test_records_that_cannot_be_read_are_passed_by_and_kept(redis: Any, outbox: RedisOutbox) -> None:
    """Broken ones at the head, a whole page of them even, do not stop those behind."""
    broken = [f"broken{number}" for number in range(RELAY_BATCH)]
    await waiting(redis, *broken, seconds=20.0)
    await waiting(redis, "good")
    await redis.delete(*(f"order:{order_id}" for order_id in broken))
    await redis.set("order:broken1", "of the wrong type")
    await redis.hset("order:broken2", "status", "accepted")
    broker = MemoryBroker()
    assert await a_relay(redis, InterruptiblePublisher(broker)).relay_once() == 1
    assert [event.subject for event in await placed_events(broker)] == ["good"]
    assert await outbox.size() == len(broken)


async def test_records_that_cannot_be_read_are_looked_at_once_a_minute(
    redis: Any, outbox: RedisOutbox
) -> None:
    """Not twice a second, each time with a line in the log; one that was repaired is relayed then."""
    await waiting(redis, "broken")
    order = await redis.hget("order:broken", "order")
    await redis.hset("order:broken", "order", "{")
    clock, publisher = [1000.0], InterruptiblePublisher(MemoryBroker())
    relay = a_relay(redis, publisher, clock=lambda: clock[0])
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            assert await relay.relay_once() == 0
    assert [line["event"] for line in lines].count(
        "the outbox names an order that has no readable record"
    ) == 1
    await redis.hset("order:broken", "order", order)
    assert await relay.relay_once() == 0
    clock[0] += 60.0
    assert await relay.relay_once() == 1
    assert await outbox.size() == 0


async def test_a_running_relay_outlives_keys_of_another_type(redis: Any, outbox: RedisOutbox) -> None:
    """Its gateway goes on answering, and the backlog leaves once an operator has mended them."""
    await waiting(redis, "a")
    await redis.rename("outbox", "kept")
    await redis.set("outbox", "of the wrong type")
    await redis.rpush("outbox:lease", "of the wrong type")
    removals = OutboxRemovals(outbox)
    removals.add("b")
    with structlog.testing.capture_logs() as lines:
        async with running(a_relay(redis, InterruptiblePublisher(MemoryBroker())).run(), removals.run()):
            await wait_until(lambda: any("WRONGTYPE" in str(line) for line in lines))
            await redis.delete("outbox:lease")
            await redis.rename("kept", "outbox")

            async def is_empty() -> bool:
                return await outbox.size() == 0

            await wait_until(is_empty)


async def test_without_a_broker_everything_stays(redis: Redis, outbox: RedisOutbox) -> None:
    """Nothing leaves the outbox that no broker has confirmed."""
    await waiting(redis, "a")
    publisher = InterruptiblePublisher(MemoryBroker())
    publisher.away = True
    with pytest.raises(BrokerUnavailable):
        await a_relay(redis, publisher).relay_once()
    assert await outbox.size() == 1


async def test_what_was_confirmed_leaves_though_its_neighbour_was_not(
    redis: Redis, outbox: RedisOutbox
) -> None:
    """An outage in the middle of a page costs no confirmed order a second publish."""
    await waiting(redis, "a", "b", "c")

    class Failing(InterruptiblePublisher):
        async def publish(self, message: Any) -> None:
            self.away = event_of(message.body).subject == "b"
            await super().publish(message)

    with pytest.raises(BrokerUnavailable):
        await a_relay(redis, Failing(MemoryBroker())).relay_once()
    assert [order_id for order_id, _ in await outbox.older_than(0.0, 0, 10)] == ["b"]


async def test_a_running_relay_outlives_an_outage(redis: Redis, outbox: RedisOutbox) -> None:
    """It tries again until the brokers are back, and then nothing is left."""
    await waiting(redis, "a", "b")
    publisher = InterruptiblePublisher(MemoryBroker())
    publisher.away = True
    async with running(a_relay(redis, publisher).run()):
        await wait_until(lambda: publisher.refused > 3)
        publisher.away = False

        async def is_empty() -> bool:
            return await outbox.size() == 0

        await wait_until(is_empty)
    assert len(publisher.published) == 2


async def test_of_two_relays_one_works(redis: Redis, outbox: RedisOutbox) -> None:
    """Gateways side by side do not publish everything as often as there are gateways."""
    holder = relay_lease(redis)
    assert await holder.hold(LEASE_SECONDS)
    idle, busy = (InterruptiblePublisher(MemoryBroker()) for _ in range(2))
    await waiting(redis, *(f"o{number}" for number in range(20)))

    async def is_empty() -> bool:
        return await outbox.size() == 0

    async with running(a_relay(redis, idle).run(), a_relay(redis, busy, lease=holder).run()):
        await wait_until(is_empty)
    assert (len(idle.published), len(busy.published)) == (0, 20)


async def test_another_relay_takes_over_when_the_lease_ends(redis: Any, outbox: RedisOutbox) -> None:
    """A gateway that died holds nobody up for longer than its lease."""
    assert await relay_lease(redis).hold(LEASE_SECONDS)
    assert 0 < await redis.pttl("outbox:lease") <= LEASE_SECONDS * 1000
    heir = relay_lease(redis)
    assert not await heir.hold(LEASE_SECONDS)
    await redis.delete("outbox:lease")
    assert await heir.hold(LEASE_SECONDS)
    assert await heir.hold(LEASE_SECONDS)


async def test_a_relay_that_has_lost_its_lease_stops_after_its_page(redis: Any, outbox: RedisOutbox) -> None:
    """Two never work on one backlog for long."""
    await waiting(redis, *(f"o{number}" for number in range(RELAY_BATCH + 1)))
    lease = relay_lease(redis)
    await relay_lease(redis).hold(LEASE_SECONDS)
    publisher = InterruptiblePublisher(MemoryBroker())
    assert await a_relay(redis, publisher, lease=lease).relay_once() == RELAY_BATCH
    assert await outbox.size() == 1


async def test_an_order_that_is_relayed_twice_is_the_same_event(redis: Any, outbox: RedisOutbox) -> None:
    """The relay and a slow request may both publish it; whoever decides can tell."""
    await waiting(redis, "a")
    broker = MemoryBroker()
    relay = a_relay(redis, InterruptiblePublisher(broker))
    await relay.relay_once()
    await redis.zadd("outbox", {"a": 1})
    await relay.relay_once()
    first, again = await placed_events(broker)
    assert first == again
