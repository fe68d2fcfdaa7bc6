"""What the in-memory broker promises beyond the contract that it shares with the cluster."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from shared.errors import BrokerUnavailable, SubscriptionLost, Unroutable
from shared.messaging.memory import MemoryBroker
from shared.messaging.ports import Delivery, OutgoingMessage, Subscription
from shared.pipeline import BROKER_DELIVERY_LIMIT, ORDER_PROCESSOR
from tests.harness.routing import messages_in
from tests.harness.waiting import wait_until

QUEUE, DEAD = ORDER_PROCESSOR.queue, ORDER_PROCESSOR.dead_queue
TIER = ORDER_PROCESSOR.retry_queue(1)


def message(body: bytes = b"x", *, queue: str = QUEUE, expires: float | None = None) -> OutgoingMessage:
    """A message straight into a queue."""
    return OutgoingMessage(exchange="", routing_key=queue, body=body, expiration_seconds=expires)


async def put(broker: MemoryBroker, *bodies: bytes) -> None:
    """These bodies in this order."""
    for body in bodies:
        await broker.publish(message(body))


async def next_bodies(subscription: Subscription, limit: int = 100) -> list[bytes]:
    """The bodies of the next batch."""
    return [delivery.body for delivery in await subscription.receive(limit)]


async def test_while_it_is_down_nothing_is_published_and_nothing_consumed() -> None:
    """Both sides hear of it at once, and the reason is there for readiness."""
    broker = MemoryBroker()
    broker.go_down("gone")
    with pytest.raises(BrokerUnavailable, match="gone"):
        await broker.publish(message())
    with pytest.raises(SubscriptionLost, match="gone"):
        async with broker.subscribe(QUEUE, prefetch=1):
            pass
    assert broker.unready_reason() == "gone"


async def test_messages_outlive_an_outage_and_come_in_their_order() -> None:
    """What was out for delivery stands again in front of what came later."""
    broker = MemoryBroker()
    await put(broker, b"1", b"2", b"3", b"4")
    async with broker.subscribe(QUEUE, prefetch=2) as subscription:
        assert await next_bodies(subscription) == [b"1", b"2"]
        broker.go_down()
        with pytest.raises(SubscriptionLost):
            await subscription.receive(1)
    broker.come_back()
    async with broker.subscribe(QUEUE, prefetch=10) as subscription:
        assert await next_bodies(subscription) == [b"1", b"2", b"3", b"4"]


async def test_what_one_consumer_leaves_goes_to_the_other_in_order() -> None:
    """A worker that ends hands its messages over, the oldest first."""
    broker = MemoryBroker()
    await put(broker, b"1", b"2", b"3")
    async with AsyncExitStack() as stack:
        async with broker.subscribe(QUEUE, prefetch=3) as first:
            assert await next_bodies(first) == [b"1", b"2", b"3"]
            second = await stack.enter_async_context(broker.subscribe(QUEUE, prefetch=3))
        assert await next_bodies(second) == [b"1", b"2", b"3"]


async def test_an_ack_on_a_lost_subscription_is_refused() -> None:
    """Whoever believes to have acked has acked."""
    broker = MemoryBroker()
    await put(broker, b"1")
    async with broker.subscribe(QUEUE, prefetch=1) as subscription:
        (delivery,) = await subscription.receive(1)
        broker.go_down()
        with pytest.raises(SubscriptionLost):
            await subscription.ack(delivery)
    assert broker.depth(QUEUE) == 1


async def test_a_message_past_the_delivery_limit_is_dead_lettered() -> None:
    """The broker's own backstop, where no router stepped in."""
    broker = MemoryBroker()
    await put(broker, b"killer")
    for deliveries in range(BROKER_DELIVERY_LIMIT + 1):
        async with broker.subscribe(QUEUE, prefetch=1) as subscription:
            (delivery,) = await subscription.receive(1)
            assert delivery.delivery_count == deliveries
    assert (broker.depth(QUEUE), broker.depth(DEAD)) == (0, 1)


async def test_looking_at_dead_letters_never_drops_one() -> None:
    """However often somebody looks and puts back."""
    broker = MemoryBroker()
    await broker.publish(message(queue=DEAD))
    for _ in range(BROKER_DELIVERY_LIMIT * 2):
        async with broker.subscribe(DEAD, prefetch=1) as subscription:
            await subscription.receive(1)
    assert broker.depth(DEAD) == 1


async def test_an_expired_message_goes_where_its_queue_sends_dead_letters() -> None:
    """The retry tiers are nothing else."""
    broker = MemoryBroker()
    await broker.publish(message(b"again", queue=TIER, expires=0.001))
    assert (broker.depth(TIER), broker.depth(QUEUE)) == (1, 0)
    await wait_until(lambda: broker.depth(QUEUE) == 1)
    (delivery,) = await messages_in(broker, QUEUE)
    assert (delivery.body, delivery.delivery_count) == (b"again", 0)


async def test_a_message_that_is_out_for_delivery_does_not_expire() -> None:
    """Only waiting messages do."""
    broker = MemoryBroker()
    await broker.publish(message(b"held", queue=TIER, expires=0.001))
    async with broker.subscribe(TIER, prefetch=1) as subscription:
        assert await next_bodies(subscription) == [b"held"]
        await broker.publish(message(b"next", queue=TIER, expires=0.001))
        await wait_until(lambda: broker.depth(QUEUE) == 1)
        assert broker.unacked(TIER) == 1


async def test_two_consumers_share_a_queue() -> None:
    """No message goes to both."""
    broker = MemoryBroker()
    async with broker.subscribe(QUEUE, prefetch=2) as one, broker.subscribe(QUEUE, prefetch=2) as two:
        await put(broker, b"1", b"2", b"3", b"4")
        bodies = [*await next_bodies(one), *await next_bodies(two)]
    assert sorted(bodies) == [b"1", b"2", b"3", b"4"]


async def test_a_message_to_a_queue_that_does_not_exist_is_refused() -> None:
    """The default exchange routes by the queue's name alone."""
    with pytest.raises(Unroutable):
        await MemoryBroker().publish(message(queue="nowhere"))


async def test_a_consumer_that_was_cancelled_gets_nothing_new() -> None:
    """What comes later waits for the next consumer."""
    broker = MemoryBroker()
    received: list[Delivery] = []
    async with broker.subscribe(QUEUE, prefetch=5) as subscription:
        waiting = asyncio.create_task(subscription.receive(5))
        await asyncio.sleep(0)
        await subscription.cancel()
        received += await waiting
        await put(broker, b"late")
        received += await subscription.receive(5)
    assert (received, broker.depth(QUEUE)) == ([], 1)
