"""Messages of several events: each event has a fate of its own, and the ack waits for the last of them."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from shared.errors import PermanentError
from shared.messages import MAX_EVENTS, encode, join
from shared.messaging.handlers import Incoming
from shared.messaging.memory import MemoryBroker
from shared.messaging.ports import Headers, OutgoingMessage
from shared.messaging.retry import ATTEMPTS, LAST_ERROR, REASON, Dead, Done, Outcome, Retry
from shared.pipeline import NOTIFIER, ORDER_PROCESSOR
from tests.harness.examples import TRACE, an_order, created, placed
from tests.harness.routing import (
    Handler,
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
POISON = b'{"type":"order.placed.v1"}'
DEEP = b'{"type":"order.placed.v1","data":' + b"[" * 900 + b"]" * 900 + b"}"
ODD = b'{"type":"order.placed.v1", "n":12345678901234567890123, "n":1.10, "s":"\\u005b,\\""}'
UNKNOWN = b'{"type":"order.placed.v9"}'


def bodies(*order_ids: str) -> list[bytes]:
    """Placed orders as they stand in a batch."""
    return [encode(placed(an_order(order_id))) for order_id in order_ids]


async def put_batch(broker: MemoryBroker, *order_ids: str) -> None:
    """Places orders with these ids in one message."""
    await put_body(broker, join(bodies(*order_ids)))


async def test_a_batch_and_its_neighbours_are_handled_together_up_to_the_limit() -> None:
    """The limit counts events; what is over it is handled next."""
    broker, handler = MemoryBroker(), Handler()
    await put(broker, "a")
    await put_batch(broker, "b", "c", "d")
    await put_batch(broker, "e", "f")
    async with routing(broker, handler, batch_limit=3) as running:
        await settled(broker)
    assert handler.batches == [["a", "b", "c"], ["d", "e", "f"]]
    assert running.metrics.outcomes == {"done": 6}
    assert running.metrics.batches == [3, 3]


async def test_a_batch_is_acked_with_its_last_event() -> None:
    """A consumer that dies after the first half gets all of it again."""
    broker, handler, halfway = MemoryBroker(), Handler(), asyncio.Event()

    async def handle(batch: Sequence[Incoming]) -> Sequence[Outcome]:
        outcomes = await handler(batch)
        if len(handler.batches) == 2:
            halfway.set()
            await asyncio.Event().wait()
        return outcomes

    await put_batch(broker, "a", "b", "c")
    async with routing(broker, handle, batch_limit=2):
        await halfway.wait()
        assert broker.unacked(QUEUE) == 1
    assert broker.depth(QUEUE) == 1
    async with routing(broker, handler, batch_limit=2):
        await settled(broker)
    assert handler.batches == [["a", "b"], ["c"], ["a", "b"], ["c"]]


async def test_each_event_of_a_batch_has_its_own_fate() -> None:
    """What failed leaves as a message of one event with its trace; the others are done."""
    broker = MemoryBroker()
    outcomes: dict[str, Outcome] = {
        "b": Retry(reason="busy", delay_seconds=500.0),
        "c": Dead(reason="hopeless"),
        "d": Done(events=(created(an_order("d")),)),
    }
    handler = Handler(lambda each: outcomes.get(each.event.subject, Done()))
    await put_batch(broker, *"abcd")
    async with routing(broker, handler) as running:
        await settled(broker)
    assert running.metrics.outcomes == {"done": 2, "retried": 1, "dead": 1}
    (retried,) = await messages_in(broker, ORDER_PROCESSOR.retry_queue(600))
    (dead,) = await messages_in(broker, DEAD)
    assert [event_of(each.body).subject for each in (retried, dead)] == ["b", "c"]
    assert [each.body for each in (retried, dead)] == bodies("b", "c")
    assert {each.correlation_id for each in (retried, dead)} == {TRACE.correlation_id}
    assert {each.headers["traceparent"] for each in (retried, dead)} == {TRACE.traceparent}
    assert (dead.headers[REASON], dead.headers[ATTEMPTS]) == ("hopeless", 1)
    (announced,) = await messages_in(broker, NOTIFIER.queue)
    assert event_of(announced.body).subject == "d"


@pytest.mark.parametrize("wrong", [POISON, DEEP, ODD, b"7", b"null", b'"text"', b"[]", b"[[]]", b"{}"])
async def test_one_poison_among_sixty_four_is_dead_and_the_rest_is_handled(wrong: bytes) -> None:
    """Whatever stands in an array is the fate of its own element, which is buried byte for byte."""
    broker, handler = MemoryBroker(), Handler()
    ids = [f"o{number}" for number in range(62)]
    good = bodies(*ids)
    await put_body(broker, join([*good[:30], wrong, UNKNOWN, *good[30:]]))
    async with routing(broker, handler) as running:
        await settled(broker)
    assert handler.handled == ids
    assert running.metrics.outcomes == {"done": 62, "unknown_type": 1, "dead": 1}
    (dead,) = await messages_in(broker, DEAD)
    assert (dead.body, dead.headers[REASON]) == (wrong, "undecodable")


@pytest.mark.parametrize("body", [b"[]", b" [ ] ", b"[{]", b'[{"type":"order.placed.v1"},'])
async def test_an_array_without_events_is_one_dead_letter_as_it_came(body: bytes) -> None:
    """There is nothing in it to tell apart."""
    broker, handler = MemoryBroker(), Handler()
    await put_body(broker, body)
    async with routing(broker, handler):
        await settled(broker)
    (dead,) = await messages_in(broker, DEAD)
    assert (dead.body, handler.batches) == (body, [])


@pytest.mark.parametrize("deliveries", [0, 2])
async def test_an_array_of_a_million_is_one_dead_letter(deliveries: int) -> None:
    """It would keep its consumer from everything else, and fill the dead-letter queue."""
    broker, handler = MemoryBroker(), Handler()
    body = b"[" + b",".join([b"1"] * 1_000_000) + b"]"
    await put_body(broker, body)
    await spend_deliveries(broker, deliveries)
    await put(broker, "a")
    async with routing(broker, handler):
        await settled(broker)
    (dead,) = await messages_in(broker, DEAD)
    assert dead.body == body
    assert (dead.headers[REASON], dead.headers[LAST_ERROR]) == (
        "undecodable",
        "DecodeError: a batch of 1000000 events",
    )
    assert handler.handled == ["a"]


@pytest.mark.parametrize("deliveries", [0, 2])
async def test_the_largest_batch_is_taken_apart_once_and_not_for_each_event(deliveries: int) -> None:
    """Else its consumer would be deaf for so long that it loses its connection and meets the batch again."""
    broker, handler = MemoryBroker(), Handler()
    await put_body(broker, join([POISON[:-1] + b',"x":"' + b"x" * 2_000 + b'"}'] * MAX_EVENTS))
    await spend_deliveries(broker, deliveries)
    began = time.process_time()
    async with routing(broker, handler):
        await settled(broker)
    assert time.process_time() - began < 5
    assert len(await messages_in(broker, DEAD)) == MAX_EVENTS


async def test_a_batch_is_known_by_its_first_byte() -> None:
    """White space before it, and an array of one, change nothing."""
    broker, handler = MemoryBroker(), Handler()
    await put_body(broker, b" \r\n\t[" + bodies("a")[0] + b"]")
    async with routing(broker, handler):
        await settled(broker)
    assert handler.handled == ["a"]


async def test_a_batch_that_was_delivered_before_runs_together_and_apart_from_others() -> None:
    """Its consumer may have died of anything."""
    broker, handler = MemoryBroker(), Handler()
    await put_batch(broker, "a", "b")
    await put_batch(broker, "c", "d")
    await spend_deliveries(broker, 1)
    await put(broker, "e")
    async with routing(broker, handler) as running:
        await settled(broker)
    assert handler.batches == [["e"], ["a", "b"], ["c", "d"]]
    assert running.metrics.repeated == 2


async def test_a_batch_that_was_delivered_twice_goes_on_as_single_events() -> None:
    """One that ends its consumers takes no neighbours along."""
    broker, handler = MemoryBroker(), Handler()
    await put_batch(broker, *"abc")
    await spend_deliveries(broker, 2)
    async with routing(broker, handler) as running:
        await wait_until(lambda: running.metrics.outcomes["done"] == 3)
        await settled(broker)
    assert sorted(handler.handled) == ["a", "b", "c"]
    assert running.metrics.outcomes == {"split": 1, "done": 3}
    assert await messages_in(broker, DEAD) == []


async def test_an_event_that_ends_its_consumer_is_buried_alone() -> None:
    """Each process dies of it again; its neighbours are done long before the limit of deliveries."""
    broker, seen = MemoryBroker(), []

    async def run_once() -> bool:
        """Whether the process outlived what it got."""
        died = asyncio.Event()

        async def handle(batch: Sequence[Incoming]) -> Sequence[Outcome]:
            subjects = [incoming.event.subject for incoming in batch]
            if "killer" in subjects:
                died.set()
                await asyncio.Event().wait()
            seen.extend(subjects)
            return [Done() for _ in batch]

        async with routing(broker, handle):
            quiet = asyncio.create_task(settled(broker))
            dead = asyncio.create_task(died.wait())
            done, pending = await asyncio.wait({quiet, dead}, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            return quiet in done

    await put_batch(broker, "a", "killer", "b")
    await put(broker, "c")
    deaths = 0
    while not await run_once():
        deaths += 1
    assert deaths < 20
    assert set(seen) == {"a", "b", "c"}
    (dead,) = await messages_in(broker, DEAD)
    assert (event_of(dead.body).subject, dead.headers[REASON]) == ("killer", "delivery_limit")


async def test_a_handler_that_raises_for_a_batch_is_run_for_each_of_its_events() -> None:
    """The fault finds its event."""

    def decide(incoming: Incoming) -> Outcome:
        if incoming.event.subject == "b":
            raise PermanentError("no such thing")
        return Done()

    broker, handler = MemoryBroker(), Handler(decide)
    await put_batch(broker, *"abc")
    async with routing(broker, handler):
        await settled(broker)
    assert handler.batches == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    (dead,) = await messages_in(broker, DEAD)
    assert event_of(dead.body).subject == "b"


async def test_a_redriven_batch_keeps_its_history_for_each_event() -> None:
    """Headers of the message are about all of its events."""
    broker = MemoryBroker()
    seen: list[Incoming] = []

    async def handle(batch: Sequence[Incoming]) -> Sequence[Outcome]:
        seen.extend(batch)
        return [Done() for _ in batch]

    headers: Headers = {ATTEMPTS: 2, REASON: "busy"}
    body = join(bodies("a", "b"))
    await broker.publish(OutgoingMessage(exchange="", routing_key=QUEUE, body=body, headers=headers))
    async with routing(broker, handle):
        await settled(broker)
    assert [(each.history.attempts, each.history.reason) for each in seen] == [(2, "busy")] * 2


@pytest.mark.parametrize("most", [1, 64])
async def test_what_a_batch_led_to_is_announced_together_unless_that_is_off(most: int) -> None:
    """A setting turns batches off."""
    broker = MemoryBroker()
    handler = Handler(lambda each: Done(events=(created(each.event.data.order),)))
    await put(broker, *"abc")
    async with routing(broker, handler, events_per_message=most):
        await settled(broker)
    assert len(await messages_in(broker, NOTIFIER.queue)) == {1: 3, 64: 1}[most]
