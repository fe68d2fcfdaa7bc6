"""In whose trace a piece of work stands: alone, in a batch, published late, tried again, given up."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from shared.errors import StoreUnavailable
from shared.gathering import Gathering
from shared.messages import Event, EventData, OrderPlaced, Trace
from shared.messaging.batching import together
from shared.messaging.handlers import Incoming
from shared.messaging.memory import MemoryBroker
from shared.messaging.retry import Dead, Done, Outcome, Retry
from shared.messaging.settlement import message_of, single
from shared.messaging.spans import in_spans, publishing
from shared.pipeline import NOTIFIER, ORDER_PROCESSOR
from shared.tracing import Sampler, Sampling, current_span, in_span, part, tracing
from tests.harness.examples import an_order, created, placed
from tests.harness.routing import Handler, event_of, messages_in, routing, settled
from tests.harness.spans import keeping_spans
from tests.harness.waiting import wait_until

QUEUE = ORDER_PROCESSOR.queue
LOW, HIGH = "1" * 16 + "0" * 15 + "1", "1" * 16 + "f" * 16
"""Traces of which a small share takes the first, and none but the whole the second."""


def traceparent(number: int, flags: str = "01") -> str:
    """Of an order's own trace."""
    return f"00-{number:032x}-{number:016x}-{flags}"


def order_in_trace(number: int, flags: str = "01") -> Event[OrderPlaced]:
    """An order whose request had this trace."""
    return placed(
        an_order(f"o{number}"), trace=Trace(correlation_id="c", traceparent=traceparent(number, flags))
    )


@pytest.mark.parametrize(
    ("sampler", "parent", "low", "high"),
    [
        ("always_on", None, True, True),
        ("always_off", True, False, False),
        ("traceidratio", True, True, False),
        ("parentbased_always_on", False, False, False),
        ("parentbased_always_off", True, True, True),
        ("parentbased_always_off", None, False, False),
        ("parentbased_traceidratio", None, True, False),
        ("parentbased_traceidratio", True, True, True),
        ("parentbased_traceidratio", False, False, False),
    ],
)
def test_samplers_decide_as_the_specification_says(
    sampler: Sampler, parent: bool | None, low: bool, high: bool
) -> None:
    """A caller's decision stands where it is asked for; else it is the share, by the trace's id."""
    sampling = Sampling(sampler, 0.1)
    assert sampling.takes(LOW, parent_is_sampled=parent) is low
    assert sampling.takes(HIGH, parent_is_sampled=parent) is high


async def test_events_of_one_message_are_published_in_their_own_traces() -> None:
    """One span each, of those that are recorded; the bytes are what they are without."""
    orders = [order_in_trace(1), order_in_trace(2, "00"), order_in_trace(3)]
    (message,) = together([message_of(order) for order in orders], 64)
    with keeping_spans() as kept:
        await MemoryBroker().publish(message)
    assert [(span.trace_id, span.parent_id) for span in kept.named("publish order.placed")] == [
        (f"{number:032x}", f"{number:016x}") for number in (1, 3)
    ]
    assert message.body == together([message_of(order) for order in orders], 64)[0].body


async def test_events_that_are_handled_together_are_linked_with_the_span_that_they_share() -> None:
    """Each stands in its own trace; what the handler does for all of them stands below the shared one."""

    async def handle(batch: Sequence[Incoming]) -> Sequence[Outcome]:
        with part("script", "client"):
            pass
        with part("letter", about=batch[2].event.id):
            pass
        with part("letter", about=batch[1].event.id):
            pass
        return [Done()] * len(batch)

    broker, orders = MemoryBroker(), [order_in_trace(1), order_in_trace(2, "00"), order_in_trace(3)]
    with keeping_spans() as kept:
        (message,) = together([message_of(order) for order in orders], 64)
        await broker.publish(message)
        async with routing(broker, handle):
            await settled(broker)
    (shared,) = kept.named(f"process batch {QUEUE}")
    own = kept.named("process order.placed.v1")
    assert [span.attributes["order.id"] for span in own] == ["o1", "o3"]
    assert shared.links == [span.traceparent for span in own]
    assert [span.links for span in own] == [[shared.traceparent]] * 2
    assert shared.trace_id not in {span.trace_id for span in own}
    (script,), (letter,) = kept.named("script"), kept.named("letter")
    assert (script.trace_id, script.parent_id) == (shared.trace_id, shared.span_id)
    assert (letter.trace_id, letter.parent_id) == (own[1].trace_id, own[1].span_id)


async def test_what_follows_from_an_event_stands_below_its_handling() -> None:
    """And what follows from one that is not recorded has its trace, as it was."""

    async def decide(batch: Sequence[Incoming]) -> Sequence[Outcome]:
        return [Done(events=(_decided(incoming.event),)) for incoming in batch]

    def _decided(event: Event[EventData]) -> Event[EventData]:
        return replace(created(event.data.order), trace=event.trace)

    broker, orders = MemoryBroker(), [order_in_trace(1), order_in_trace(2, "00")]
    with keeping_spans() as kept:
        for order in orders:
            await broker.publish(message_of(order))
        async with routing(broker, decide, events_per_message=1):
            await settled(broker)
    (handling,) = kept.named("process order.placed.v1")
    announced = [event_of(delivery.body) for delivery in await messages_in(broker, NOTIFIER.queue)]
    told = {event.subject: event.trace.traceparent for event in announced}
    assert told == {"o1": handling.traceparent, "o2": traceparent(2, "00")}
    (publish,) = kept.named("publish order.created")
    assert publish.parent_id == handling.span_id


async def test_a_retry_stays_in_the_order_s_trace() -> None:
    """Each attempt says what became of it; they stand below the same span."""

    async def handle(batch: Sequence[Incoming]) -> Sequence[Outcome]:
        return [Done() if each.history.attempts else Retry(reason="busy") for each in batch]

    broker = MemoryBroker()
    with keeping_spans() as kept:
        await broker.publish(message_of(order_in_trace(1)))
        async with routing(broker, handle) as routed:
            await wait_until(lambda: routed.metrics.outcomes == {"retried": 1, "done": 1})
    attempts = kept.named("process order.placed.v1")
    assert [(span.attributes["attempt"], span.error) for span in attempts] == [(1, "busy"), (2, "")]
    (put_off,) = [span for span in kept.spans if span.name.startswith("publish orders.")]
    assert {(span.trace_id, span.parent_id) for span in (*attempts, put_off)} == {(f"{1:032x}", f"{1:016x}")}


async def test_a_dead_letter_keeps_the_order_s_trace() -> None:
    """So that what a redrive leads to stands in it too."""

    async def give_up(batch: Sequence[Incoming]) -> Sequence[Outcome]:
        return [Dead(reason="broken")] * len(batch)

    broker = MemoryBroker()
    with keeping_spans() as kept:
        await broker.publish(message_of(order_in_trace(1)))
        async with routing(broker, give_up):
            await settled(broker)
        (letter,) = await messages_in(broker, ORDER_PROCESSOR.dead_queue)
        await broker.publish(single(letter, QUEUE, letter.body))
    (buried,) = kept.named(f"publish {ORDER_PROCESSOR.dead_queue}")
    (redriven,) = kept.named(f"publish {QUEUE}")
    assert buried.parent_id == redriven.parent_id == f"{1:016x}"
    assert event_of(letter.body).trace.traceparent == letter.headers["traceparent"] == traceparent(1)


async def test_a_publish_that_fails_is_seen_to_fail() -> None:
    """With the reason, in the order's trace."""
    broker = MemoryBroker()
    broker.go_down("no broker is up")
    with keeping_spans() as kept, pytest.raises(Exception, match="no broker"):
        await broker.publish(message_of(order_in_trace(1)))
    assert [span.error for span in kept.spans] == ["BrokerUnavailable"]


async def test_who_asks_for_several_works_in_the_trace_of_none() -> None:
    """What a gathered question does is no part of the request that happened to come first."""
    seen = []

    async def ask(items: Sequence[int]) -> Sequence[int]:
        seen.append((tracing(), current_span()))
        return items

    with keeping_spans() as kept:
        gathering = Gathering[int, int](
            ask, fitting=len, at_once=1, timeout_seconds=1.0, late=lambda _: StoreUnavailable("late")
        )
        outer = tracing()
        assert outer is not None
        span = outer.begin("request", "server", traceparent(1))
        with in_span(span):
            assert await asyncio.create_task(gathering.answer(1)) == 1
    assert seen == [(outer, None)]
    assert kept.spans == [span]


def test_without_tracing_nothing_is_begun() -> None:
    """Neither around a message nor around a handler, which stays what it is."""
    handler = Handler()
    assert in_spans(QUEUE)(handler) is handler
    with publishing(message_of(order_in_trace(1))), part("anything") as span:
        assert (span, tracing(), current_span()) == (None, None, None)


@pytest.mark.parametrize(
    "insane", ["", "00-1-2-01", f"00-{'0' * 32}-{'1' * 16}-01", f"{traceparent(1)}\n", "01"]
)
def test_an_event_with_an_insane_trace_has_no_span(insane: str) -> None:
    """Its message came from elsewhere; it is handled all the same."""
    with keeping_spans() as kept:
        tracer = tracing()
        assert tracer is not None
        assert tracer.begin("process", "consumer", insane) is None
    assert kept.spans == []
