"""Redriving and dropping dead letters, in memory, with a crash between any two steps."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from dashboard.dead_letters import erasing
from dashboard.dead_letters.actions import DryRun
from dashboard.dead_letters.erasing import ErasedLetters
from dashboard.dead_letters.letter import Wanted
from shared import keyspace
from shared.errors import BrokerUnavailable
from shared.messages import Event
from shared.messaging.batching import together
from shared.messaging.dead_letters import DeadLettersBusy
from shared.messaging.ports import OutgoingMessage
from shared.messaging.settlement import message_of
from shared.orders.model import OrderStatus, Trouble
from shared.orders.ports import Noted
from shared.orders.redis.erasure import RedisErasedOrders, RedisOrderErasure
from shared.pipeline import NOTIFIER, ORDER_PROCESSOR
from tests.harness.afterlife import Afterlife, Crashed, CrashPlan, afterlife
from tests.harness.examples import TRACE, an_order, created, placed
from tests.harness.moving import ended
from tests.harness.routing import messages_in

STEPS_AT_MOST = 40


@pytest.fixture
async def world() -> AsyncIterator[Afterlife]:
    """Everything around an empty store."""
    async with afterlife() as made:
        yield made


async def with_a_dead_order(world: Afterlife, order_id: str = "order1") -> Afterlife:
    """One order that died of a broken stock entry, which is repaired by now."""
    await world.stock("cable", "1e3")
    await world.accept(an_order(order_id, cable=2))
    await world.work()
    await world.stock("cable", 10)
    return world


async def with_an_untold_customer(world: Afterlife) -> Afterlife:
    """One order that was created, and whose notification died."""
    await world.stock("cable", 10)
    world.customers.refuses = True
    await world.accept(an_order("order1", cable=2))
    await world.work()
    world.customers.refuses = False
    return world


async def test_a_dead_order_is_listed_with_why_and_when(world: Afterlife) -> None:
    """And its record says the same."""
    await with_a_dead_order(world)
    (letter,) = (await world.letters()).letters
    assert letter.id == "orders.dead:order1:order.placed.v1"
    assert (letter.reason, letter.history.attempts, letter.order_id) == ("broken_stock", 1, "order1")
    assert "cable" in letter.history.last_error
    record = await world.order("order1")
    assert (record.trouble, record.reason) == (Trouble.DEAD, "broken_stock")
    assert await world.indexes("order1") == ["accepted", "dead"]


async def test_a_redriven_order_is_decided_like_any_other(world: Afterlife) -> None:
    """Stock taken, customer told, letter gone; the timeline tells the detour."""
    await with_a_dead_order(world)
    tally = await world.do(world.redrive())
    assert (tally.matched, tally.done, tally.failed, tally.complete) == (1, 1, 0, True)
    await world.work()
    record = await world.order("order1")
    assert (record.status, await world.indexes("order1")) == ("created", ["created"])
    assert await world.steps("order1") == ["accepted", "dead", "redriven", "created", "notified"]
    assert (await world.available("cable"), await world.decided()) == (8, 1)
    assert world.customers.sent == {"order1:order.created.v1": 1}
    assert (await world.letters()).letters == []


async def test_a_redriven_order_is_retrying_until_its_consumer_has_it(world: Afterlife) -> None:
    """With the time of the next attempt, which is now."""
    await with_a_dead_order(world)
    await world.do(world.redrive())
    record = await world.order("order1")
    assert (record.trouble, await world.indexes("order1")) == (Trouble.RETRYING, ["accepted", "retrying"])
    assert record.next_attempt_at is not None
    assert record.next_attempt_at >= record.timeline[-1].at


async def test_redriving_again_changes_nothing(world: Afterlife) -> None:
    """Neither where the letter is gone nor where a copy of it is left."""
    await with_a_dead_order(world)
    (letter,) = (await world.letters()).letters
    await world.do(world.redrive())
    await world.work()
    before = await world.redis.hgetall(keyspace.order("order1"))
    assert (await world.do(world.redrive())).matched == 0
    await world.broker.publish(
        OutgoingMessage(exchange="", routing_key=ORDER_PROCESSOR.dead_queue, body=letter.delivery.body)
    )
    assert (await world.do(world.redrive())).done == 1
    await world.work()
    assert await world.redis.hgetall(keyspace.order("order1")) == before
    assert (await world.available("cable"), await world.decided()) == (8, 1)
    assert world.customers.sent == {"order1:order.created.v1": 1}


async def test_a_redriven_message_that_fails_again_comes_back_with_its_history(world: Afterlife) -> None:
    """How often it was redriven, why it had died, since when it fails; its budget starts anew."""
    await with_a_dead_order(world)
    await world.stock("cable", "still broken")
    (first,) = (await world.letters()).letters
    for lives in (1, 2):
        await world.do(world.redrive())
        await world.work()
        (letter,) = (await world.letters()).letters
        assert letter.id == first.id
        assert (letter.history.attempts, letter.past.previous_attempts) == (1, lives)
        assert (letter.past.redriven, letter.past.previous_reason) == (lives, "broken_stock")
        assert letter.past.previous_error == first.history.last_error
        assert letter.history.first_failed_at == first.history.first_failed_at
        assert letter.history.last_failed_at > first.history.last_failed_at
    assert await world.steps("order1") == ["accepted", "dead", "redriven", "dead", "redriven", "dead"]
    assert await world.indexes("order1") == ["accepted", "dead"]


async def test_a_consumer_that_was_quicker_has_the_last_word(world: Afterlife) -> None:
    """An order that dies again before the redrive is noted stays dead."""
    await with_a_dead_order(world)
    await world.stock("cable", "still broken")
    redrive = world.redrive()
    revive = redrive._books.revive

    async def late(noted: Sequence[Noted]) -> None:
        await world.work()
        await revive(noted)

    redrive._books.revive = late  # type: ignore[method-assign]
    await world.do(redrive)
    assert (await world.order("order1")).trouble is Trouble.DEAD
    assert await world.indexes("order1") == ["accepted", "dead"]


async def test_a_dropped_order_is_rejected_and_announced_like_any_other(world: Afterlife) -> None:
    """With its number among the decided ones, and the customer told."""
    await with_a_dead_order(world)
    tally = await world.do(world.drop())
    await world.work()
    record = await world.order("order1")
    assert (tally.done, record.status, record.reason, record.sequence) == (1, "rejected", "dropped", 1)
    assert (record.next_attempt_at, record.sku_at_fault) == (None, None)
    assert record.decided_at == record.timeline[-2].at
    assert await world.indexes("order1") == ["rejected"]
    assert await world.steps("order1") == ["accepted", "dead", "rejected", "notified"]
    assert (await world.available("cable"), await world.decided()) == (10, 1)
    assert world.customers.sent == {"order1:order.rejected.v1": 1}
    assert (await world.letters()).letters == []


async def test_a_dropped_order_that_comes_again_is_not_decided_again(world: Afterlife) -> None:
    """A copy of its message finds the decision, as after any other."""
    await with_a_dead_order(world)
    (letter,) = (await world.letters()).letters
    await world.do(world.drop())
    assert letter.event is not None
    await world.broker.publish(message_of(letter.event))
    await world.work()
    assert ((await world.order("order1")).status, await world.decided()) == ("rejected", 1)
    assert world.customers.sent == {"order1:order.rejected.v1": 1}


async def test_dropping_the_copy_of_a_created_order_leaves_it_created(world: Afterlife) -> None:
    """A decision is announced again, never overwritten."""
    await with_a_dead_order(world)
    (letter,) = (await world.letters()).letters
    await world.do(world.redrive())
    await world.work()
    await world.broker.publish(
        OutgoingMessage(exchange="", routing_key=ORDER_PROCESSOR.dead_queue, body=letter.delivery.body)
    )
    await world.do(world.drop())
    await world.work()
    assert ((await world.order("order1")).status, await world.decided()) == ("created", 1)
    assert world.customers.sent == {"order1:order.created.v1": 1}


async def test_an_order_without_a_record_is_dropped_from_its_message(world: Afterlife) -> None:
    """The message carries everything that the record needs."""
    await with_a_dead_order(world)
    await world.redis.flushall()
    await world.do(world.drop())
    await world.work()
    record = await world.order("order1")
    assert (record.status, record.reason) == ("rejected", "dropped")
    assert await world.steps("order1") == ["accepted", "recreated", "rejected", "notified"]
    assert world.customers.sent == {"order1:order.rejected.v1": 1}


async def test_a_broken_record_keeps_its_letter(world: Afterlife) -> None:
    """What cannot be decided is not dropped either, and does not stop the others."""
    await with_a_dead_order(world, "broken")
    await with_a_dead_order(world, "sound")
    await world.redis.delete(keyspace.order("broken"))
    await world.redis.set(keyspace.order("broken"), "somebody else's")
    tally = await world.do(world.drop())
    assert (tally.done, tally.failed, tally.fault) == (1, 1, None)
    assert [letter.order_id for letter in (await world.letters()).letters] == ["broken"]


async def test_an_undecodable_letter_is_dropped_without_a_trace_in_the_store(world: Afterlife) -> None:
    """Nothing hangs on it."""
    await world.broker.publish(
        OutgoingMessage(exchange="orders.direct", routing_key="order.placed", body=b"\xff\x00 not JSON")
    )
    await world.work()
    (letter,) = (await world.letters()).letters
    assert (letter.reason, letter.event, letter.order_id) == ("undecodable", None, None)
    assert (await world.do(world.drop())).done == 1
    assert (await world.letters()).letters == []
    assert await world.redis.keys("order*") == []


async def test_an_undecodable_letter_can_be_redriven_and_comes_back(world: Afterlife) -> None:
    """As after an upgrade of its consumer that did not help."""
    await world.broker.publish(
        OutgoingMessage(exchange="orders.direct", routing_key="order.placed", body=b"not JSON")
    )
    await world.work()
    assert (await world.do(world.redrive())).done == 1
    await world.work()
    (letter,) = (await world.letters()).letters
    assert (letter.past.redriven, letter.reason) == (1, "undecodable")


async def test_a_redriven_notification_goes_out_once(world: Afterlife) -> None:
    """However many copies of it are redriven."""
    await with_an_untold_customer(world)
    (letter,) = (await world.letters()).letters
    assert (letter.queue, letter.reason) == (NOTIFIER.dead_queue, "undeliverable")
    await world.broker.publish(
        OutgoingMessage(exchange="", routing_key=NOTIFIER.dead_queue, body=letter.delivery.body)
    )
    assert (await world.do(world.redrive())).done == 2
    await world.work()
    assert world.customers.sent == {"order1:order.created.v1": 1}
    assert await world.redis.hget(keyspace.notifications("order1"), "status") == "sent"
    steps = await world.steps("order1")
    assert steps == ["accepted", "created", "notification_failed", "notification_redriven", "notified"]
    assert (await world.order("order1")).status == "created"


async def test_a_dropped_notification_stays_failed(world: Afterlife) -> None:
    """The order is decided; only its customer is never told."""
    await with_an_untold_customer(world)
    await world.do(world.drop())
    await world.work()
    assert world.customers.sent == {}
    assert await world.redis.hget(keyspace.notifications("order1"), "status") == "failed"
    steps = await world.steps("order1")
    assert steps == ["accepted", "created", "notification_failed", "notification_dropped"]
    assert await world.decided() == 1


async def test_a_dry_run_touches_nothing(world: Afterlife) -> None:
    """It only counts."""
    await with_a_dead_order(world)
    before = await world.redis.hgetall(keyspace.order("order1"))
    tally = await world.do(DryRun("drop"))
    assert (tally.matched, tally.done, tally.failed) == (1, 0, 0)
    assert await world.redis.hgetall(keyspace.order("order1")) == before
    assert len((await world.letters()).letters) == 1


async def test_only_what_is_wanted_is_acted_on(world: Afterlife) -> None:
    """By order, by reason, by SKU, and no more than the limit; the rest keeps its place."""
    for number in range(6):
        await with_a_dead_order(world, f"order{number}")
    await world.do(world.drop(), Wanted(ids=("order3", "orders.dead:order1:order.placed.v1")))
    assert (await world.do(world.drop(), Wanted(reason="other"))).matched == 0
    assert (await world.do(world.drop(), Wanted(sku="lamp"))).matched == 0
    tally = await world.do(world.drop(), Wanted(sku="cable", reason="broken_stock"), limit=2)
    assert (tally.done, tally.limited, tally.complete) == (2, True, True)
    assert [letter.order_id for letter in (await world.letters()).letters] == ["order4", "order5"]


async def test_an_absent_broker_stops_an_errand_and_leaves_the_letters(world: Afterlife) -> None:
    """What was not confirmed is not removed."""
    await with_a_dead_order(world)

    class Deaf:
        async def publish(self, _: OutgoingMessage) -> None:
            raise BrokerUnavailable("no confirm in time")

    redrive = world.redrive()
    redrive._publisher = Deaf()
    tally = await world.do(redrive)
    assert (tally.done, tally.failed, tally.complete, tally.fault) == (0, 1, False, "no confirm in time")
    assert len((await world.letters()).letters) == 1
    assert (await world.order("order1")).trouble is Trouble.DEAD


async def test_concurrent_redrives_have_the_effect_of_one(world: Afterlife) -> None:
    """Desks of several dashboards take turns, and the letter is there for one of them."""
    await with_a_dead_order(world)
    tallies = await asyncio.gather(*(world.do(world.redrive()) for _ in range(5)))
    await world.work()
    assert sum(tally.done for tally in tallies) == 1
    assert (await world.available("cable"), await world.decided()) == (8, 1)
    assert world.customers.sent == {"order1:order.created.v1": 1}


async def test_who_does_not_get_a_turn_is_told_so(world: Afterlife, monkeypatch: pytest.MonkeyPatch) -> None:
    """In time, instead of seeing half of the letters."""
    monkeypatch.setattr("dashboard.dead_letters.store.TURN_SECONDS", 0.05)
    await world.redis.set(keyspace.DEAD_LETTERS_LEASE, "another dashboard")
    with pytest.raises(DeadLettersBusy):
        await world.letters()
    await world.redis.delete(keyspace.DEAD_LETTERS_LEASE)
    assert (await world.letters()).letters == []


@dataclass(frozen=True, slots=True)
class Case:
    """An action on one letter, and what must be true in the end."""

    name: str
    queue: str
    told: str
    available: int
    status: str


CASES = (
    Case("redrive", ORDER_PROCESSOR.dead_queue, "order1:order.created.v1", 8, "created"),
    Case("drop", ORDER_PROCESSOR.dead_queue, "order1:order.rejected.v1", 10, "rejected"),
    Case("redrive", NOTIFIER.dead_queue, "order1:order.created.v1", 8, "created"),
)


@pytest.mark.parametrize("works_between", [True, False], ids=["consumers-run", "consumers-wait"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}-{case.queue}")
async def test_a_crash_anywhere_is_made_good_by_asking_again(case: Case, works_between: bool) -> None:
    """Decided once, announced once, nothing left behind, whichever step the process dies at."""
    for at in range(STEPS_AT_MOST):
        async with afterlife() as world:
            kill = with_a_dead_order if case.queue == ORDER_PROCESSOR.dead_queue else with_an_untold_customer
            await kill(world)
            world.plan.at, world.plan.steps = at, 0
            action = world.redrive() if case.name == "redrive" else world.drop()
            crashed = False
            try:
                await world.do(action)
            except Crashed:
                crashed = True
            world.plan.at = None
            if works_between:
                await world.work()
            for _ in range(2):
                await world.do(world.redrive() if case.name == "redrive" else world.drop())
                await world.work()
            assert (await world.order("order1")).status == case.status, at
            assert await world.indexes("order1") == [case.status]
            assert (await world.available("cable"), await world.decided()) == (case.available, 1)
            assert world.customers.sent == {case.told: 1}
            assert (await world.letters()).letters == []
            if not crashed:
                assert at > 4
                return
    raise AssertionError("the plan never ran to its end")


async def test_letters_of_either_kind_in_one_errand(world: Afterlife) -> None:
    """All queues are gone through, each letter by its own rule."""
    await with_an_untold_customer(world)
    await world.stock("lamp", "broken")
    await world.accept(an_order("order2", lamp=1))
    await world.work()
    assert {letter.queue for letter in (await world.letters()).letters} == {
        ORDER_PROCESSOR.dead_queue,
        NOTIFIER.dead_queue,
    }
    assert (await world.do(world.drop())).done == 2
    await world.work()
    assert (await world.order("order2")).reason == "dropped"
    assert world.customers.sent == {"order2:order.rejected.v1": 1}


async def test_a_letter_about_a_decision_that_lies_in_the_wrong_queue_is_only_removed(
    world: Afterlife,
) -> None:
    """Dropping never decides an order by anything but its own placement."""
    event = created(an_order("order1"))
    await world.broker.publish(
        OutgoingMessage(exchange="", routing_key=ORDER_PROCESSOR.dead_queue, body=message_of(event).body)
    )
    assert (await world.do(world.drop())).done == 1
    assert await world.redis.exists(keyspace.order("order1")) == 0


# --- batches, which only the broker moves here ------------------------------------------------------------


async def with_a_given_up_batch(world: Afterlife, *order_ids: str) -> Afterlife:
    """Undecided orders in one message that the broker delivered too often."""
    await world.stock("cable", 10)
    events = [await world.accept(an_order(order_id, cable=2)) for order_id in order_ids]
    await messages_in(world.broker, ORDER_PROCESSOR.queue)
    (batch,) = together([message_of(event) for event in events], len(events))
    await world.broker.publish(batch)
    assert world.broker.give_up(ORDER_PROCESSOR.queue) == 1
    return world


async def test_a_batch_among_the_dead_letters_is_a_letter_for_each_of_its_events(world: Afterlife) -> None:
    """With the broker's reason, and the trace that travelled in the envelope."""
    await with_a_given_up_batch(world, "a", "b", "c")
    looked = await world.letters()
    assert [letter.order_id for letter in looked.letters] == ["a", "b", "c"]
    assert {letter.reason for letter in looked.letters} == {"delivery_limit"}
    assert {letter.delivery.correlation_id for letter in looked.letters} == {TRACE.correlation_id}
    assert looked.complete
    assert looked.waiting[ORDER_PROCESSOR.dead_queue] == 3
    assert world.broker.depth(ORDER_PROCESSOR.dead_queue) == 3


async def test_one_event_of_a_dead_batch_is_dropped_and_the_others_are_redriven(world: Afterlife) -> None:
    """Nothing that was not meant goes along."""
    await with_a_given_up_batch(world, "a", "b", "c")
    assert (await world.do(world.drop(), Wanted(ids={"b"}))).done == 1
    assert (await world.do(world.redrive())).done == 2
    await world.work()
    statuses = {order_id: str((await world.order(order_id)).status) for order_id in "abc"}
    assert statuses == {"a": "created", "b": "rejected", "c": "created"}
    assert (await world.letters()).letters == []


async def test_a_dashboard_that_dies_anywhere_while_it_splits_a_batch_loses_no_event() -> None:
    """Copies are all that is left over."""
    for at in range(STEPS_AT_MOST):
        async with afterlife() as world:
            await with_a_given_up_batch(world, "a", "b")
            world.plan.at = world.plan.steps + at
            try:
                await world.do(world.redrive())
            except Crashed:
                world.plan.at = None
                await world.do(world.redrive())
            else:
                assert at > 4
                return
            await world.work()
            assert [str((await world.order(order_id)).status) for order_id in "ab"] == ["created"] * 2
            assert (await world.available("cable"), await world.decided()) == (6, 2)
    raise AssertionError("the redrive never ended")


async def erased(world: Afterlife, order_id: str) -> None:
    """The order's customer removes the account, and accounts finds its orders final."""
    at = (await world.order(order_id)).accepted_at_microseconds
    await ended(world.redis, order_id, OrderStatus.CANCELLED)
    await world.redis.hset(keyspace.order(order_id), "customer", "ann")
    await world.redis.zadd(keyspace.orders_of("ann"), {order_id: at})
    erasure = RedisOrderErasure(world.redis, timeout_seconds=5.0, retention_seconds=60)
    assert await erasure.erase("ann")
    assert (await world.order(order_id)).order.email is None


def erased_letters(world: Afterlife) -> ErasedLetters:
    """The job of a dashboard that has just started, which may crash by plan."""
    orders = RedisErasedOrders(world.redis, timeout_seconds=5.0)
    return ErasedLetters(world.desk(), orders, world.erase())


async def with_letters_of_ann(world: Afterlife) -> Afterlife:
    """A dead notification to her, a dead copy of her order, and letters of another who had the same id."""
    await world.stock("cable", 10)
    world.customers.refuses = True
    order = an_order("order1", cable=2, email="ann@example.com")
    await world.accept(order)
    await world.work()
    other = an_order("order1", cable=2, email="bob@example.com")
    buried: list[tuple[Event[Any], str]] = [
        (placed(order), ORDER_PROCESSOR.dead_queue),
        (placed(other), ORDER_PROCESSOR.dead_queue),
        (created(other), NOTIFIER.dead_queue),
    ]
    for event, queue in buried:
        message = replace(message_of(event), exchange="", routing_key=queue)
        await world.broker.publish(message)
    world.customers.refuses = False
    return world


async def emails(world: Afterlife) -> set[str]:
    """Whom the dead letters name."""
    letters = (await world.letters()).letters
    return {letter.event.data.order.email for letter in letters if letter.event is not None}


async def test_no_dead_letter_keeps_the_address_of_an_erased_customer(world: Afterlife) -> None:
    """Wherever it lies. Those of another order that had the same id stay."""
    await with_letters_of_ann(world)
    assert await emails(world) == {"ann@example.com", "bob@example.com"}
    await erased(world, "order1")
    await erased_letters(world).round()
    assert await emails(world) == {"bob@example.com"}
    assert len((await world.letters()).letters) == 2
    record = await world.order("order1")
    assert (record.status, await world.available("cable"), await world.decided()) == ("cancelled", 10, 1)
    assert "notification_dropped" in await world.steps("order1")


async def test_letters_are_looked_for_again_when_nothing_is_in_hand_any_more(
    world: Afterlife, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that its consumer had in hand when the order was erased is buried a little later."""
    await with_letters_of_ann(world)
    await erased(world, "order1")
    letters, late = erased_letters(world), created(an_order("order1", cable=2, email="ann@example.com"))
    await letters.round()
    await world.broker.publish(replace(message_of(late), exchange="", routing_key=NOTIFIER.dead_queue))
    await letters.round()
    assert "ann@example.com" in await emails(world), "nothing was to be looked for yet"
    monkeypatch.setattr(erasing, "IN_HAND_SECONDS", 0.0)
    await letters.round()
    assert await emails(world) == {"bob@example.com"}
    assert await world.redis.exists(keyspace.ERASED) == 0


@pytest.mark.parametrize("at", range(8))
async def test_erasing_goes_on_after_a_crash_at_any_step(world: Afterlife, at: int) -> None:
    """Nothing but her letters goes."""
    await with_letters_of_ann(world)
    await erased(world, "order1")
    world.plan = CrashPlan(at=at)
    with contextlib.suppress(Crashed):
        await erased_letters(world).round()
    world.plan = CrashPlan()
    await erased_letters(world).round()
    assert await emails(world) == {"bob@example.com"}
    assert len((await world.letters()).letters) == 2


async def test_an_erased_customer_is_told_nothing_more(world: Afterlife) -> None:
    """A letter that was redriven before, or waits in a retry tier, is passed over and goes."""
    await with_letters_of_ann(world)
    await world.do(world.redrive(), Wanted(queues=[NOTIFIER.dead_queue]))
    await erased(world, "order1")
    await world.work()
    assert world.customers.sent == {}
    assert world.is_idle()


async def test_without_a_broker_letters_are_looked_for_later(world: Afterlife) -> None:
    """Nothing is forgotten meanwhile."""
    await with_letters_of_ann(world)
    await erased(world, "order1")
    letters = erased_letters(world)
    world.broker.go_down()
    with pytest.raises(BrokerUnavailable):
        await letters.round()
    world.broker.come_back()
    await letters.round()
    assert await emails(world) == {"bob@example.com"}
