"""What a router does while something that it needs is away, and when it is told to stop."""

import asyncio
from collections.abc import Sequence

from shared.errors import PermanentError, StoreUnavailable
from shared.messaging.handlers import Incoming
from shared.messaging.memory import MemoryBroker
from shared.messaging.retry import Bury, Dead, Done, Outcome
from shared.pipeline import ORDER_PROCESSOR
from tests.harness.examples import created
from tests.harness.routing import (
    Failures,
    Handler,
    InterruptiblePublisher,
    put,
    routing,
    settled,
)
from tests.harness.waiting import wait_until

QUEUE, DEAD = ORDER_PROCESSOR.queue, ORDER_PROCESSOR.dead_queue


async def test_while_nothing_can_be_published_deliveries_are_kept_and_nothing_counts_as_an_attempt() -> None:
    """No ack, no nack, no new deliveries; when the brokers are back, all of it is carried out."""
    broker = MemoryBroker()
    publisher = InterruptiblePublisher(broker)
    handler = Handler(lambda incoming: Done(events=(created(incoming.event.data.order),)))
    publisher.away = True
    await put(broker, *"abc")
    async with routing(broker, handler, publisher=publisher, batch_limit=2, prefetch=2) as running:
        await wait_until(lambda: publisher.refused > 4)
        assert (broker.unacked(QUEUE), broker.depth(QUEUE), handler.handled) == (2, 1, ["a", "b"])
        assert running.metrics.outcomes == {}
        publisher.away = False
        await settled(broker)
    assert sorted(publisher.event_ids()) == [f"{order_id}:order.created.v1" for order_id in "abc"]
    assert running.failures.told == []
    assert handler.handled == ["a", "b", "c"]


async def test_while_the_store_is_away_a_handler_is_asked_again_until_it_is_back() -> None:
    """An absent store is nobody's fault: no attempt is counted and no message is moved."""
    broker, refusals = MemoryBroker(), iter(range(5))

    def decide(_: Incoming) -> Outcome:
        if next(refusals, None) is not None:
            raise StoreUnavailable("away")
        return Done()

    handler = Handler(decide)
    await put(broker, *"ab")
    async with routing(broker, handler) as running:
        await settled(broker)
    assert handler.batches == [["a", "b"]] * 6
    assert running.metrics.outcomes == {"done": 2}


async def test_a_message_is_moved_only_after_the_listener_knows() -> None:
    """An order that waits is never shown as merely accepted because the store was away for a moment."""
    broker, failures = MemoryBroker(), Failures(away_times=3)
    await put(broker, "a")
    async with routing(broker, Handler(lambda _: Dead(reason="hopeless")), failures=failures):
        await wait_until(lambda: broker.depth(DEAD) == 1)
    assert [subject for subject, _ in failures.told] == ["a"]
    assert failures.away_times == 0


async def test_a_listener_that_cannot_note_a_message_does_not_keep_it_from_being_moved() -> None:
    """A broken record is a reason for the dead-letter queue, not for a consumer that crashes for ever."""

    class Broken(Failures):
        async def buried(self, event: object, fate: Bury) -> None:
            raise PermanentError("the record is broken")

    broker = MemoryBroker()
    handler = Handler(lambda each: Dead(reason="broken") if each.event.subject == "b" else Done())
    await put(broker, *"abc")
    async with routing(broker, handler, failures=Broken()) as running:
        await settled(broker)
    assert broker.depth(DEAD) == 1
    assert running.metrics.outcomes == {"done": 2, "dead": 1}


async def test_a_lost_subscription_is_replaced() -> None:
    """The whole broker goes away and comes back; the consumer does too, and nothing is lost."""
    broker, handler = MemoryBroker(), Handler()
    async with routing(broker, handler) as running:
        await put(broker, "a")
        await settled(broker)
        broker.go_down()
        await wait_until(lambda: running.router.unready_reason() is not None)
        broker.come_back()
        await put(broker, "b")
        await settled(broker)
        assert running.router.unready_reason() is None
    assert handler.handled == ["a", "b"]


async def test_what_was_not_acked_when_the_broker_went_away_is_handled_again() -> None:
    """Handlers meet it twice, which they must survive; nobody loses it."""
    broker, handled, go_on = MemoryBroker(), list[str](), asyncio.Event()

    async def handler(batch: Sequence[Incoming]) -> Sequence[Outcome]:
        handled.extend(incoming.event.subject for incoming in batch)
        await go_on.wait()
        return [Done() for _ in batch]

    await put(broker, *"ab")
    async with routing(broker, handler):
        await wait_until(lambda: len(handled) == 2)
        broker.go_down()
        broker.come_back()
        go_on.set()
        await settled(broker)
    assert sorted(handled) == ["a", "a", "b", "b"]


# --- the end ----------------------------------------------------------------------------------------------


async def test_a_stop_finishes_everything_that_has_arrived() -> None:
    """A drain leaves no message to be delivered twice."""
    broker, handler, begun, go_on = MemoryBroker(), Handler(), asyncio.Event(), asyncio.Event()

    async def slow(batch: Sequence[Incoming]) -> Sequence[Outcome]:
        begun.set()
        await go_on.wait()
        return await handler(batch)

    await put(broker, *"abcdef")
    async with routing(broker, slow, batch_limit=2, prefetch=4) as running:
        await begun.wait()
        running.stop.set()
        await asyncio.sleep(0)
        go_on.set()
        await running.end()
    assert handler.handled == list("abcd")
    assert (broker.unacked(QUEUE), broker.depth(QUEUE)) == (0, 2)


async def test_a_stop_while_idle_ends_at_once() -> None:
    """There is nothing to finish."""
    broker = MemoryBroker()
    async with routing(broker, Handler()) as running:
        await wait_until(lambda: running.router.unready_reason() is None)
        await running.end()


async def test_a_stop_while_no_broker_is_up_ends_at_once() -> None:
    """There is nobody to take leave of."""
    broker = MemoryBroker()
    broker.go_down()
    async with routing(broker, Handler()) as running:
        await wait_until(lambda: running.router.unready_reason() is not None)
        await running.end()


async def test_a_fault_of_the_router_itself_ends_it_loudly() -> None:
    """Outcomes that do not match the batch are a fault of ours, which must not be acked away."""

    async def forgetful(batch: Sequence[Incoming]) -> Sequence[Outcome]:
        return [Done() for _ in batch[1:]]

    broker = MemoryBroker()
    await put(broker, *"ab")
    async with routing(broker, forgetful) as running:
        await asyncio.wait({running.task}, timeout=5)
        assert running.task.done()
        assert isinstance(running.task.exception(), ExceptionGroup)
    assert broker.depth(QUEUE) == 2
