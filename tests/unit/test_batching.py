"""Messages that travel together: one route, bounded, and each caller learns what became of its own."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pamqp.frame
import pytest

from shared.errors import BrokerUnavailable
from shared.messages import Event, EventData, decode_all, is_batch, split
from shared.messaging.batching import BYTES_PER_MESSAGE, GatheringPublisher, together
from shared.messaging.ports import OutgoingMessage
from shared.messaging.rabbitmq.publishing import ConfirmedPublishing
from shared.messaging.settlement import message_of
from tests.harness.examples import an_order, created, placed, rejected
from tests.harness.routing import event_of
from tests.harness.waiting import wait_until
from tests.simulator.loop import SimulatedLoop

SECONDS = 30.0


def order_message(order_id: str) -> OutgoingMessage:
    """What the gateway publishes about an order."""
    return message_of(placed(an_order(order_id)))


def subjects(message: OutgoingMessage) -> list[str]:
    """The orders that a message is about."""
    return [event_of(body).subject for body in split(message.body)]


@dataclass(slots=True)
class HeldPublisher:
    """Keeps every message until it is let go, or fails it."""

    sent: list[OutgoingMessage] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Exception | None = None

    async def publish(self, message: OutgoingMessage) -> None:
        self.sent.append(message)
        await self.free.wait()
        if self.fault is not None:
            raise self.fault


def gathering(publisher: HeldPublisher, *, most: int = 64, seconds: float = SECONDS) -> GatheringPublisher:
    """The publisher under test."""
    return GatheringPublisher(publisher, timeout_seconds=seconds, events_per_message=most)


# --- which go together ------------------------------------------------------------------------------------


def test_events_of_one_route_are_one_message_in_their_order() -> None:
    """Each route has its own, since a message has one key."""
    events: list[Event[EventData]] = [created(an_order("a")), rejected(an_order("b")), created(an_order("c"))]
    first, second = together([message_of(event) for event in events], 64)
    assert (first.routing_key, subjects(first)) == ("order.created", ["a", "c"])
    assert (second.routing_key, subjects(second)) == ("order.rejected", ["b"])
    assert decode_all(first.body) == [events[0], events[2]]


@pytest.mark.parametrize("most", [1, 2, 64])
def test_a_message_holds_so_many_events_at_most(most: int) -> None:
    """One alone is a message as it always was, byte for byte."""
    messages = [order_message(f"o{number}") for number in range(65)]
    sent = together(messages, most)
    assert max(len(subjects(message)) for message in sent) == most
    assert [subject for message in sent for subject in subjects(message)] == [f"o{n}" for n in range(65)]
    alone = [message for message in sent if not is_batch(message.body)]
    assert all(message in messages for message in alone)
    assert len(alone) == {1: 65, 2: 1, 64: 1}[most]


def test_a_message_holds_so_many_bytes_at_most() -> None:
    """An event that is larger than that travels alone."""
    sizes = [60_000, 60_000, 60_000, 2 * BYTES_PER_MESSAGE, 10]
    messages = [OutgoingMessage(exchange="e", routing_key="k", body=b'"%s"' % (b"x" * n)) for n in sizes]
    sent = [message.body for message in together(messages, 64)]
    assert [len(split(body)) for body in sent] == [2, 1, 1, 1]
    assert [len(body) <= BYTES_PER_MESSAGE for body in sent] == [True, True, False, True]


@pytest.mark.parametrize(
    "message",
    [
        OutgoingMessage(exchange="", routing_key="orders.retry.1", body=b"{}"),
        OutgoingMessage(exchange="e", routing_key="k", body=b"{}", headers={"op-attempts": 1}),
        OutgoingMessage(exchange="e", routing_key="k", body=b"{}", expiration_seconds=1.0),
    ],
)
def test_what_says_more_than_its_body_goes_alone(message: OutgoingMessage) -> None:
    """Retries and dead letters are single events."""
    assert together([message, message], 64) == [message, message]


# --- gathering --------------------------------------------------------------------------------------------


async def test_a_lone_event_goes_at_once_and_as_it_is() -> None:
    """Nothing waits for company."""
    inner, message = HeldPublisher(), order_message("a")
    inner.free.set()
    await gathering(inner).publish(message)
    assert inner.sent == [message]


async def test_what_comes_while_one_is_under_way_goes_with_the_next() -> None:
    """And no second message of the route is under way before the first is confirmed."""
    inner = HeldPublisher()
    publisher = gathering(inner, most=2)
    first = asyncio.create_task(publisher.publish(order_message("a")))
    await wait_until(lambda: len(inner.sent) == 1)
    others = [asyncio.create_task(publisher.publish(order_message(name))) for name in "bcd"]
    elsewhere = asyncio.create_task(publisher.publish(message_of(created())))
    await wait_until(lambda: len(inner.sent) == 2)
    assert not first.done()
    inner.free.set()
    await asyncio.gather(first, *others, elsewhere)
    assert [subjects(message) for message in inner.sent] == [["a"], ["order1"], ["b", "c"], ["d"]]


async def test_each_caller_is_told_what_became_of_its_message() -> None:
    """A batch without a confirm is none of them's."""
    inner = HeldPublisher(fault=BrokerUnavailable("gone"))
    publisher = gathering(inner)
    waiting = [asyncio.create_task(publisher.publish(order_message(name))) for name in "abc"]
    await wait_until(lambda: len(inner.sent) == 1)
    inner.free.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(result) for result in results] == ["gone"] * 3
    inner.fault = None
    await publisher.publish(order_message("d"))
    assert subjects(inner.sent[-1]) == ["d"]


async def test_a_caller_that_left_takes_its_event_along_before_it_is_sent() -> None:
    """The others go on."""
    inner = HeldPublisher()
    publisher = gathering(inner)
    first = asyncio.create_task(publisher.publish(order_message("a")))
    await wait_until(lambda: len(inner.sent) == 1)
    left, stayed = (asyncio.create_task(publisher.publish(order_message(name))) for name in "bc")
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.wait({left})
    inner.free.set()
    await asyncio.gather(first, stayed)
    assert [subjects(message) for message in inner.sent] == [["a"], ["c"]]


@pytest.mark.parametrize("seed", range(10))
def test_no_caller_waits_longer_than_the_deadline_though_one_before_hangs(seed: int) -> None:
    """The time that an event waits for its turn counts."""
    loop = SimulatedLoop(random.Random(seed))

    async def waited(publisher: GatheringPublisher, name: str) -> float:
        begun = loop.time()
        with pytest.raises(BrokerUnavailable):
            await publisher.publish(order_message(name))
        return loop.time() - begun

    async def two() -> list[float]:
        inner = HeldPublisher()
        publisher = gathering(inner, seconds=5.0)
        first = asyncio.create_task(waited(publisher, "a"))
        await asyncio.sleep(1.0)
        assert len(inner.sent) == 1
        return list(await asyncio.gather(first, waited(publisher, "b")))

    assert loop.run(two()) == [5.0, 5.0]


async def test_an_event_that_no_frame_can_carry_fails_alone_with_its_message() -> None:
    """A fault of the publisher reaches the caller, and the route goes on."""
    inner = HeldPublisher(fault=ValueError("no frame carries that"))
    inner.free.set()
    publisher = gathering(inner)
    with pytest.raises(ValueError, match="no frame"):
        await publisher.publish(order_message("a"))
    inner.fault = None
    await publisher.publish(order_message("b"))


# --- on the wire ------------------------------------------------------------------------------------------


def frames_of(message: OutgoingMessage) -> list[Any]:
    """What goes to the broker, as its own library reads it."""
    channel = mock.Mock(
        number=1, max_content_size=131_064, closing=asyncio.get_running_loop().create_future()
    )
    data = ConfirmedPublishing(channel, timeout_seconds=SECONDS)._frames(message, "id")
    found = []
    while data:
        size, _, frame = pamqp.frame.unmarshal(data)
        found.append(frame)
        data = data[size:]
    return found


@pytest.mark.parametrize(
    ("orders", "content_type"),
    [("a", b"application/cloudevents+json"), ("ab", b"application/cloudevents-batch+json")],
)
async def test_the_content_type_tells_one_event_from_several(orders: str, content_type: bytes) -> None:
    """As CloudEvents has it."""
    (message,) = together([order_message(order_id) for order_id in orders], 64)
    method, header, *_ = frames_of(message)
    assert header.properties.content_type.encode() == content_type
    assert header.body_size == len(message.body)
    assert (method.exchange, method.routing_key) == ("orders.direct", "order.placed")
