"""What every broker adapter promises, run over the in-memory one and over the real cluster."""

import asyncio
from dataclasses import replace

import pytest

from shared.errors import Unroutable
from shared.messages import Trace, split
from shared.messaging.batching import GatheringPublisher, joined
from shared.messaging.ports import Delivery, OutgoingMessage, Subscription
from shared.messaging.settlement import message_of
from shared.pipeline import EVENTS_EXCHANGE, NOTIFIER, ORDER_PROCESSOR, ORDERS_EXCHANGE, SHOP_EXCHANGE
from tests.contract.conftest import BrokerUnderTest
from tests.harness.examples import an_order, placed
from tests.harness.spans import keeping_spans

QUEUE = ORDER_PROCESSOR.queue


def order_placed(body: bytes, **headers: str | int) -> OutgoingMessage:
    """A message on the route of a placed order."""
    return OutgoingMessage(
        exchange=ORDERS_EXCHANGE.name,
        routing_key="order.placed",
        body=body,
        correlation_id="correlated",
        headers=headers,
    )


async def receive(subscription: Subscription, count: int) -> list[Delivery]:
    """Exactly so many deliveries, or a failed test."""
    received: list[Delivery] = []
    async with asyncio.timeout(20):
        while len(received) < count:
            received += await subscription.receive(count - len(received))
    return received


async def test_a_message_arrives_whole_in_the_queue_that_its_route_names(broker: BrokerUnderTest) -> None:
    """Body, correlation id, headers and routing key survive the way through the broker."""
    await broker.publisher.publish(order_placed(b"one", origin="test", number=7))
    async with broker.subscriber.subscribe(QUEUE, prefetch=10) as subscription:
        (delivery,) = await receive(subscription, 1)
        await subscription.ack(delivery)
    assert delivery.body == b"one"
    assert delivery.correlation_id == "correlated"
    assert delivery.routing_key == "order.placed"
    assert delivery.headers["origin"] == "test"
    assert delivery.headers["number"] == 7
    assert (delivery.redelivered, delivery.delivery_count) == (False, 0)


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 400_000])
async def test_a_message_of_any_size_arrives_whole(broker: BrokerUnderTest, size: int) -> None:
    """With no body at all, and with one of several frames, which take 131,064 bytes each."""
    body = bytes(number % 251 for number in range(size))
    await broker.publisher.publish(order_placed(body))
    async with broker.subscriber.subscribe(QUEUE, prefetch=10) as subscription:
        (delivery,) = await receive(subscription, 1)
        await subscription.ack(delivery)
    assert delivery.body == body


async def test_events_that_travel_together_arrive_as_one_message(broker: BrokerUnderTest) -> None:
    """What comes while one is under way is one message, and each of its publishers has its confirm."""
    publisher = GatheringPublisher(broker.publisher, timeout_seconds=10.0, events_per_message=64)
    sent = [message_of(placed(an_order(f"order{number}"))) for number in range(200)]
    await asyncio.gather(*(publisher.publish(message) for message in sent))
    async with broker.subscriber.subscribe(QUEUE, prefetch=500) as subscription:
        deliveries = await receive(subscription, 4)
        await subscription.ack(deliveries[-1])
    bodies = [split(delivery.body) for delivery in deliveries]
    assert [len(each) for each in bodies] == [64, 64, 64, 8]
    assert [body for each in bodies for body in each] == [message.body for message in sent]


async def test_a_publish_is_seen_in_the_trace_of_each_of_its_events(broker: BrokerUnderTest) -> None:
    """Alone and together, where this service traces; an unroutable one with its error."""
    traces = [Trace(correlation_id="c", traceparent=f"00-{n:032x}-{n:016x}-01") for n in (1, 2, 3)]
    single, *others = [message_of(placed(an_order(f"o{n}"), trace=trace)) for n, trace in enumerate(traces)]
    with keeping_spans() as kept:
        await broker.publisher.publish(single)
        await broker.publisher.publish(joined(others))
        with pytest.raises(Unroutable):
            await broker.publisher.publish(replace(single, routing_key="order.unheard"))
    async with broker.subscriber.subscribe(QUEUE, prefetch=10) as subscription:
        await subscription.ack((await receive(subscription, 2))[-1])
    told = [(int(span.trace_id, 16), int(span.parent_id or "0", 16), span.error) for span in kept.spans]
    assert told == [(1, 1, ""), (2, 2, ""), (3, 3, ""), (1, 1, "Unroutable")]


async def test_what_is_published_together_arrives_in_that_order(broker: BrokerUnderTest) -> None:
    """More at once than any buffer on the way takes."""
    bodies = [b"%d" % number for number in range(500)]
    await asyncio.gather(*(broker.publisher.publish(order_placed(body)) for body in bodies))
    async with broker.subscriber.subscribe(QUEUE, prefetch=500) as subscription:
        deliveries = await receive(subscription, len(bodies))
        await subscription.ack(deliveries[-1])
    assert [delivery.body for delivery in deliveries] == bodies


async def test_who_gives_up_a_publish_leaves_the_others_theirs(broker: BrokerUnderTest) -> None:
    """A message that somebody stopped waiting for may arrive; the confirms of the others stay their own."""
    publishing = [
        asyncio.create_task(broker.publisher.publish(order_placed(b"%d" % number))) for number in range(60)
    ]
    await asyncio.sleep(0)
    for task in publishing[::3]:
        task.cancel()
    results = await asyncio.gather(*publishing, return_exceptions=True)
    await broker.publisher.publish(order_placed(b"last"))
    wanted = {b"%d" % number for number in range(60) if results[number] is None} | {b"last"}
    assert len(wanted) == 41
    async with broker.subscriber.subscribe(QUEUE, prefetch=100) as subscription, asyncio.timeout(20):
        while wanted:
            wanted -= {delivery.body for delivery in await subscription.receive(100)}


async def test_the_topic_exchange_hands_every_order_event_to_the_notifier(broker: BrokerUnderTest) -> None:
    """``order.*`` takes created and rejected alike, and what later versions may add."""
    keys = ["order.created", "order.rejected", "order.shipped"]
    for key in keys:
        await broker.publisher.publish(
            OutgoingMessage(exchange=EVENTS_EXCHANGE.name, routing_key=key, body=key.encode())
        )
    async with broker.subscriber.subscribe(NOTIFIER.queue, prefetch=10) as subscription:
        deliveries = await receive(subscription, 3)
        await subscription.ack(deliveries[-1])
    assert sorted(delivery.body.decode() for delivery in deliveries) == keys


async def test_publishing_where_no_queue_is_bound_is_an_error(broker: BrokerUnderTest) -> None:
    """Nothing vanishes because nobody was listening."""
    with pytest.raises(Unroutable):
        await broker.publisher.publish(
            OutgoingMessage(exchange=ORDERS_EXCHANGE.name, routing_key="order.unheard", body=b"lost?")
        )


async def test_what_nothing_need_listen_to_is_confirmed_all_the_same(broker: BrokerUnderTest) -> None:
    """A shop's events have no listener at first."""
    await broker.publisher.publish(
        OutgoingMessage(
            exchange=SHOP_EXCHANGE.name, routing_key="product.created", body=b"{}", mandatory=False
        )
    )


async def test_an_unroutable_publish_does_not_hurt_its_neighbours(broker: BrokerUnderTest) -> None:
    """Of publishes in flight together each gets its own answer."""
    unroutable = OutgoingMessage(exchange=ORDERS_EXCHANGE.name, routing_key="order.unheard", body=b"x")
    results = await asyncio.gather(
        *(broker.publisher.publish(order_placed(b"%d" % number)) for number in range(10)),
        broker.publisher.publish(unroutable),
        return_exceptions=True,
    )
    assert isinstance(results[10], Unroutable)
    missing = {b"%d" % number for number in range(10) if results[number] is None}
    async with broker.subscriber.subscribe(QUEUE, prefetch=20) as subscription, asyncio.timeout(20):
        while missing:  # one whose confirm was lost may have arrived as well
            missing -= {delivery.body for delivery in await subscription.receive(20)}


async def test_what_was_not_acked_comes_again_with_a_count(broker: BrokerUnderTest) -> None:
    """A consumer that goes away without acking leaves everything to the next one."""
    for number in range(3):
        await broker.publisher.publish(order_placed(b"%d" % number))
    async with broker.subscriber.subscribe(QUEUE, prefetch=10) as subscription:
        first, _, _ = await receive(subscription, 3)
        await subscription.ack(first)
    async with broker.subscriber.subscribe(QUEUE, prefetch=10) as subscription:
        again = await receive(subscription, 2)
        await subscription.ack(again[-1])
    assert {delivery.body for delivery in again} == {b"1", b"2"}
    assert all(delivery.redelivered and delivery.delivery_count == 1 for delivery in again)


async def test_an_ack_settles_everything_received_before_it(broker: BrokerUnderTest) -> None:
    """One ack per batch is enough, and nothing of the batch comes again."""
    for number in range(5):
        await broker.publisher.publish(order_placed(b"%d" % number))
    async with broker.subscriber.subscribe(QUEUE, prefetch=10) as subscription:
        deliveries = await receive(subscription, 5)
        await subscription.ack(deliveries[3])
    async with broker.subscriber.subscribe(QUEUE, prefetch=10) as subscription:
        (left,) = await receive(subscription, 1)
        await subscription.ack(left)
    assert left.body == b"4"


async def test_prefetch_bounds_what_is_out_for_delivery(broker: BrokerUnderTest) -> None:
    """The next delivery comes only when an ack has made room for it."""
    for number in range(4):
        await broker.publisher.publish(order_placed(b"%d" % number))
    async with broker.subscriber.subscribe(QUEUE, prefetch=2) as subscription:
        first = await receive(subscription, 2)
        waiting = asyncio.create_task(receive(subscription, 2))
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
        await subscription.ack(first[-1])
        assert [delivery.body for delivery in await waiting] == [b"2", b"3"]


async def test_after_a_cancel_what_had_arrived_is_still_handed_out(broker: BrokerUnderTest) -> None:
    """A drain finishes what the consumer already holds, then ends."""
    for number in range(3):
        await broker.publisher.publish(order_placed(b"%d" % number))
    async with broker.subscriber.subscribe(QUEUE, prefetch=10) as subscription:
        (first,) = await receive(subscription, 1)
        await subscription.cancel()
        rest: list[Delivery] = []
        while batch := await subscription.receive(10):
            rest += batch
        await subscription.ack(rest[-1] if rest else first)
    assert first.body == b"0"
    assert len(rest) <= 2


async def test_a_retry_comes_back_to_its_own_queue_after_its_expiration(broker: BrokerUnderTest) -> None:
    """A tier's queue gives a message back to the consumer that put it there, headers included."""
    await broker.publisher.publish(
        OutgoingMessage(
            exchange="",
            routing_key=ORDER_PROCESSOR.retry_queue(1),
            body=b"again",
            headers={"op-attempts": 1},
            expiration_seconds=0.2,
        )
    )
    async with broker.subscriber.subscribe(QUEUE, prefetch=10) as subscription:
        (delivery,) = await receive(subscription, 1)
        await subscription.ack(delivery)
    assert delivery.body == b"again"
    assert delivery.headers["op-attempts"] == 1
