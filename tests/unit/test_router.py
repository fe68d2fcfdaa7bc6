"""From deliveries to outcomes: one bad message is its own fate, and no ack comes too early."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from shared.errors import PermanentError
from shared.messaging.handlers import Incoming
from shared.messaging.memory import MemoryBroker
from shared.messaging.ports import Delivery, OutgoingMessage, Subscription
from shared.messaging.retry import ATTEMPTS, REASON, Bury, Dead, Done, Outcome, Retry, Wait
from shared.messaging.settlement import message_of
from shared.pipeline import NOTIFIER, ORDER_PROCESSOR, RETRY_TIERS_SECONDS
from tests.harness.examples import an_order, created, delivery_of, placed
from tests.harness.routing import (
    Handler,
    InterruptiblePublisher,
    event_of,
    messages_in,
    put,
    put_body,
    routing,
    settled,
    spend_deliveries,
)
from tests.harness.waiting import wait_until

QUEUE, DEAD = ORDER_PROCESSOR.queue, ORDER_PROCESSOR.dead_queue
RETRY = Retry(reason="send_failed", error="busy")


def raising(error: Exception, *order_ids: str) -> Handler:
    """A handler that raises for these orders and is done with all others."""

    def decide(incoming: Incoming) -> Outcome:
        if incoming.event.subject in order_ids:
            raise error
        return Done()

    return Handler(decide)


# --- batches ----------------------------------------------------------------------------------------------


async def test_what_has_arrived_is_one_batch_up_to_the_limit() -> None:
    """One round trip serves many messages under load."""
    broker, handler = MemoryBroker(), Handler()
    await put(broker, *"abcde")
    async with routing(broker, handler, batch_limit=3) as running:
        await settled(broker)
    assert handler.batches == [["a", "b", "c"], ["d", "e"]]
    assert running.metrics.batches == [3, 2]


async def test_a_lone_message_does_not_wait_for_company() -> None:
    """An idle system answers at once."""
    broker, handler = MemoryBroker(), Handler()
    async with routing(broker, handler):
        await put(broker, "a")
        await settled(broker)
        await put(broker, "b")
        await settled(broker)
    assert handler.batches == [["a"], ["b"]]


async def test_events_are_published_before_the_ack() -> None:
    """A crash in between leads to a redelivery that publishes the same event, under the same id."""
    broker = MemoryBroker()
    publisher = InterruptiblePublisher(broker)
    handler = Handler(lambda incoming: Done(events=(created(incoming.event.data.order),)))
    await put(broker, "a")
    publisher.away = True
    async with routing(broker, handler, publisher=publisher):
        await wait_until(lambda: publisher.refused > 2)
        assert broker.unacked(QUEUE) == 1
    publisher.away = False
    async with routing(broker, handler, publisher=publisher):
        await settled(broker)
    assert handler.handled == ["a", "a"]
    assert publisher.event_ids() == ["a:order.created.v1"]
    (event,) = await messages_in(broker, NOTIFIER.queue)
    assert event.correlation_id == "correlated"
    assert event.headers["traceparent"] == placed().trace.traceparent


async def test_a_crash_between_publish_and_ack_repeats_the_event_with_its_id() -> None:
    """Receivers can tell a repetition from news."""
    broker = MemoryBroker()
    publisher = InterruptiblePublisher(broker)
    published = asyncio.Event()

    class Dying:
        """The broker has the message, and the process dies before it hears of that."""

        async def publish(self, message: OutgoingMessage) -> None:
            await publisher.publish(message)
            published.set()
            await asyncio.Event().wait()

    handler = Handler(lambda incoming: Done(events=(created(incoming.event.data.order),)))
    await put(broker, "a")
    async with routing(broker, handler, publisher=Dying()):
        await published.wait()
    async with routing(broker, handler, publisher=publisher):
        await settled(broker)
    assert publisher.event_ids() == ["a:order.created.v1"] * 2
    first, second = await messages_in(broker, NOTIFIER.queue)
    assert first.body == second.body


# --- one bad message --------------------------------------------------------------------------------------


async def test_a_handler_that_raises_for_a_batch_is_run_for_each_alone() -> None:
    """The fault finds its message, and the neighbours are done."""
    broker, handler = MemoryBroker(), raising(PermanentError("no such thing"), "b")
    await put(broker, *"abc")
    async with routing(broker, handler) as running:
        await settled(broker)
    assert handler.batches == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    (dead,) = await messages_in(broker, DEAD)
    assert event_of(dead.body).subject == "b"
    assert dead.headers[REASON] == "permanent_error"
    assert running.metrics.outcomes == {"done": 2, "dead": 1}


async def test_an_outcome_is_of_its_own_message_alone() -> None:
    """Done, retried and dead stand side by side in one batch."""
    broker = MemoryBroker()
    outcomes: dict[str, Outcome] = {"a": Done(), "b": RETRY, "c": Dead(reason="hopeless")}
    handler = Handler(lambda each: outcomes.pop(each.event.subject, Done()))
    await put(broker, *"abc")
    async with routing(broker, handler) as running:
        await wait_until(lambda: running.metrics.outcomes.total() == 4)
    assert running.metrics.outcomes == {"done": 2, "retried": 1, "dead": 1}
    assert handler.handled == ["a", "b", "c", "b"]


async def test_what_cannot_be_decoded_goes_to_the_dead_letters_with_its_reason() -> None:
    """Poison keeps its bytes and says what is wrong with it; its neighbours are handled and acked."""
    broker, handler = MemoryBroker(), Handler()
    await put(broker, "a")
    await put_body(broker, b"\xffnot json")
    await put(broker, "b")
    async with routing(broker, handler):
        await settled(broker)
    assert handler.batches == [["a", "b"]]
    (dead,) = await messages_in(broker, DEAD)
    assert dead.body == b"\xffnot json"
    assert (dead.headers[REASON], dead.headers[ATTEMPTS]) == ("undecodable", 1)
    assert str(dead.headers["op-last-error"]).startswith("DecodeError: not JSON")


async def test_an_unknown_type_is_acked_and_counted() -> None:
    """A newer publisher does not stop an older consumer."""
    broker, handler = MemoryBroker(), Handler()
    await put_body(broker, message_of(created()).body)
    await put_body(broker, b'{"type": "order.seen.v1"}')
    async with routing(broker, handler) as running:
        await settled(broker)
    assert running.metrics.outcomes == {"unknown_type": 2}
    assert (handler.batches, broker.depth(DEAD)) == ([], 0)


async def test_a_redelivered_message_runs_alone_from_the_start() -> None:
    """Whatever took the last consumer down does not take its neighbours along again."""
    broker, handler = MemoryBroker(), Handler()
    await put(broker, *"ab")
    await spend_deliveries(broker, 1)
    await put(broker, *"cd")
    async with routing(broker, handler):
        await settled(broker)
    assert handler.batches == [["c", "d"], ["a"], ["b"]]


async def test_a_redelivery_that_the_broker_did_not_count_runs_alone_too() -> None:
    """Newer brokers count only what was really tried; the flag alone is reason enough for care."""
    handler = Handler()
    deliveries = [
        replace(delivery_of(placed(an_order(order_id)), tag=tag), redelivered=order_id != "b")
        for tag, order_id in enumerate("abc", start=1)
    ]

    class Subscriber:
        """Hands out these deliveries once."""

        @asynccontextmanager
        async def subscribe(self, queue: str, *, prefetch: int) -> AsyncIterator[Subscription]:
            yield self

        async def receive(self, limit: int) -> Sequence[Delivery]:
            if not deliveries:
                await asyncio.Event().wait()
            batch = list(deliveries)
            deliveries.clear()
            return batch

        async def ack(self, delivery: Delivery) -> None:
            acked.set()

        async def cancel(self) -> None:
            return None

    acked = asyncio.Event()
    async with routing(MemoryBroker(), handler, subscriber=Subscriber()):
        await acked.wait()
    assert handler.batches == [["b"], ["a"], ["c"]]


async def test_a_message_delivered_too_often_is_dead_before_its_handler_runs() -> None:
    """A message that kills its consumer is stopped by somebody who does not touch it."""
    broker, handler = MemoryBroker(), Handler()
    await put(broker, "killer")
    await spend_deliveries(broker, 10)
    await put(broker, "innocent")
    async with routing(broker, handler) as running:
        await settled(broker)
    assert handler.handled == ["innocent"]
    (dead,) = await messages_in(broker, DEAD)
    assert dead.headers[REASON] == "delivery_limit"
    assert [subject for subject, _ in running.failures.told] == ["killer"]


async def test_a_message_delivered_less_often_still_has_its_chance() -> None:
    """Nine crashes of others are not its fault."""
    broker, handler = MemoryBroker(), Handler()
    await put(broker, "a")
    await spend_deliveries(broker, 9)
    async with routing(broker, handler):
        await settled(broker)
    assert handler.handled == ["a"]


# --- retries ----------------------------------------------------------------------------------------------


async def test_a_retry_waits_in_its_tier_and_comes_back_with_its_history() -> None:
    """The handler sees how often it failed before."""
    broker, attempts = MemoryBroker(), list[int]()

    def decide(incoming: Incoming) -> Outcome:
        attempts.append(incoming.history.attempts)
        return RETRY if len(attempts) < 3 else Done()

    await put(broker, "a")
    async with routing(broker, Handler(decide)) as running:
        await wait_until(lambda: running.metrics.outcomes["done"] == 1)
    assert attempts == [0, 1, 2]
    waits = [fate for _, fate in running.failures.told if isinstance(fate, Wait)]
    assert [fate.tier_seconds for fate in waits] == [1, 5]


async def test_a_message_that_always_fails_climbs_every_tier_and_is_buried_with_its_history() -> None:
    """The budget ends, and the dead letter tells the whole story."""
    broker = MemoryBroker()
    await put(broker, "a")
    async with routing(broker, Handler(lambda _: RETRY)) as running:
        await wait_until(lambda: broker.depth(DEAD) == 1)
    fates = [fate for _, fate in running.failures.told]
    assert [fate.tier_seconds for fate in fates if isinstance(fate, Wait)] == list(RETRY_TIERS_SECONDS)
    assert isinstance(fates[-1], Bury)
    (dead,) = await messages_in(broker, DEAD)
    assert (dead.headers[ATTEMPTS], dead.headers[REASON]) == (6, "send_failed")
    assert event_of(dead.body).subject == "a"


async def test_another_consumers_failures_wait_elsewhere() -> None:
    """The notifier's retries come back to the notifier."""
    broker = MemoryBroker()
    handler = Handler(lambda each: Done() if each.history.attempts else RETRY)
    await broker.publish(message_of(created()))
    kind = type(created().data)
    async with routing(broker, handler, consumption=NOTIFIER, kind=kind) as running:
        await wait_until(lambda: running.metrics.outcomes["done"] == 1)
    assert (broker.depth(QUEUE), broker.depth(NOTIFIER.queue)) == (0, 0)


async def test_headers_of_the_broker_do_not_travel_with_a_retry() -> None:
    """Brokers misread their own headers on messages that we publish; others' headers stay."""
    broker = MemoryBroker()
    publisher = InterruptiblePublisher(broker)
    message = message_of(placed())
    await broker.publish(
        OutgoingMessage(
            exchange=message.exchange,
            routing_key=message.routing_key,
            body=message.body,
            headers={"x-death": "y", "x-delivery-count": 3, "tenant": "acme"},
        )
    )
    async with routing(broker, Handler(lambda _: Dead(reason="hopeless")), publisher=publisher):
        await settled(broker)
    (moved,) = publisher.published
    assert "tenant" in moved.headers
    assert not [name for name in moved.headers if name.startswith("x-")]
