"""What a verification says of orders that are not settled yet, and which of them go to the relay again."""

from typing import Any

import pytest

from notifier.domain import notification_of
from notifier.ports import Attempt
from orderctl.verification.reading import RecordReader
from orderctl.verification.republishing import Republisher
from orderctl.verification.verification import Patience
from shared import keyspace
from shared.messaging.retry import Bury, History
from shared.orders.model import OrderStatus
from tests.harness.examples import created, placed
from tests.harness.shop import SECONDS, Shop, orders, shop_of_four


@pytest.fixture
async def shop(redis: Any) -> Shop:
    """Three orders that were created and one that was rejected, of which all customers were told."""
    return await shop_of_four(redis)


# --- what is not settled ------------------------------------------------------------------------------------


async def test_an_undecided_order_is_looked_at_again(shop: Shop) -> None:
    """Waiting is no fault as long as it ends in time; so is a customer who is told a moment later."""
    late = orders(1, start=5)
    await shop.accept(*late)
    await shop.decide(*orders(1, start=6), tell=False)
    looks = 0
    read = RecordReader.read

    async def read_then_decide(self: RecordReader, *arguments: Any) -> Any:
        nonlocal looks
        sightings = await read(self, *arguments)
        looks += 1
        await shop.decide(*late, *orders(1, start=6))
        return sightings

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordReader, "read", read_then_decide)
        verdict = (await shop.verify(patience=Patience(quiet=5.0, pause=0.0))).verdict
    assert verdict.faults() == {}
    assert verdict.told == 6
    assert looks > 2


async def test_orders_that_wait_longer_than_that_are_stuck(shop: Shop) -> None:
    """Accepted or retrying, with what is known of them."""
    await shop.accept(*orders(1, start=5))
    verdict = (await shop.verify()).verdict
    assert verdict.faults() == {"stuck": ["o5"]}
    assert "accepted at" in verdict.why["o5"]


async def test_dead_letters_are_remarked_on(shop: Shop) -> None:
    """A dead order and a notification that was given up are seen, and are no fault."""
    (dead,) = orders(1, start=5)
    await shop.accept(dead)
    history = History(attempts=9, reason="broken_stock", last_error="no number")
    await shop.decisions.buried(placed(dead), Bury(history=history))
    await shop.redis.delete("notif:o1:order.created.v1")
    await shop.notifications.buried(created(orders(1)[0]), Bury(history=history))
    verdict = (await shop.verify()).verdict
    assert verdict.passed
    assert (verdict.dead, verdict.undelivered) == (["o5"], ["o1"])
    assert "broken_stock" in verdict.why["o5"]
    assert "no number" in verdict.why["o1"]


@pytest.mark.parametrize("mark", ["unconfirmed:1:1:owner", "sent:unconfirmed"])
async def test_letters_without_an_answer_are_counted_and_not_sent_again(shop: Shop, mark: str) -> None:
    """Neither is a fault, and one that is settled is not given to the relay again."""
    event = created(orders(1)[0])
    await shop.redis.set(keyspace.notification_claim(event.id), mark)
    outcome = await shop.verify(republish=True)
    assert outcome.verdict.passed
    assert outcome.verdict.unconfirmed == ["o1"]
    assert not outcome.republished


async def test_letters_that_wait_for_their_hour_are_counted_and_are_no_fault(shop: Shop) -> None:
    """Until the customer is told: then there is nothing to say."""
    event = created(orders(1)[0])
    held_back = Attempt(notification=notification_of(event), owner="one", channel="smtp")
    await shop.redis.delete(keyspace.notification_claim(event.id))
    await shop.notifications.claim([held_back])
    await shop.notifications.hold_back([held_back])
    verdict = (await shop.verify()).verdict
    assert (verdict.passed, verdict.collected) == (True, ["o1"])
    await shop.notifications.claim([held_back])
    await shop.notifications.mark_sent([held_back])
    assert (await shop.verify()).verdict.collected == []


# --- giving them to the relay again -------------------------------------------------------------------------


async def test_republishing_puts_lost_orders_into_the_outbox_and_waits_for_them(shop: Shop) -> None:
    """The relay takes them from there; the verdict says what was done."""
    lost = orders(3, start=5)
    await shop.accept(*lost)
    republish = Republisher.republish

    async def republish_then_relay(self: Republisher, found: Any) -> Any:
        republished = await republish(self, found)
        assert await shop.redis.zcard(keyspace.OUTBOX) == 3
        await shop.decide(*lost)
        return republished

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Republisher, "republish", republish_then_relay)
        outcome = await shop.verify(republish=True, patience=Patience(quiet=0.2, pause=0.0))
    assert outcome.verdict.faults() == {}
    assert (sorted(outcome.republished), outcome.healed) == (["o5", "o6", "o7"], 3)


async def test_republishing_twice_is_republishing_once(shop: Shop) -> None:
    """An entry keeps its time, and there is one of it."""
    await shop.accept(*orders(1, start=5))
    accepted_at = int(await shop.redis.hget("order:o5", "accepted_at"))
    for _ in range(2):
        outcome = await shop.verify(republish=True)
        assert outcome.verdict.faults() == {"stuck": ["o5"]}
        assert (list(outcome.republished), outcome.healed) == (["o5"], 0)
    assert await shop.redis.zrange(keyspace.OUTBOX, 0, -1, withscores=True) == [("o5", accepted_at)]


async def test_an_order_that_was_decided_meanwhile_is_not_republished(shop: Shop) -> None:
    """The script looks again: what has moved on is refused."""

    async def unknown() -> None:
        return None

    healer = Republisher(shop.redis, timeout_seconds=SECONDS, dead_letters=unknown)
    found = {"o1": OrderStatus.ACCEPTED, "o2": OrderStatus.CREATED, "o9": OrderStatus.ACCEPTED}
    assert await healer.republish(found) == []
    assert await shop.redis.zcard(keyspace.OUTBOX) == 0


async def test_a_decided_order_whose_customer_was_not_told_is_announced_again(shop: Shop) -> None:
    """Deciding it again changes nothing but publishes its event once more: so lost events heal as well."""
    await shop.redis.delete("notif:o1:order.created.v1")
    outcome = await shop.verify(republish=True)
    assert list(outcome.republished) == ["o1"]
    assert await shop.redis.zrange(keyspace.OUTBOX, 0, -1) == ["o1"]


@pytest.mark.parametrize(("dead_letters", "republished"), [(0, ["o5"]), (1, []), (None, [])])
async def test_dead_orders_are_republished_only_if_their_queue_is_known_to_be_empty(
    shop: Shop, dead_letters: int | None, republished: list[str]
) -> None:
    """What lies in the dead-letter queue is an operator's to redrive."""
    (dead,) = orders(1, start=5)
    await shop.accept(dead)
    await shop.decisions.buried(placed(dead), Bury(history=History(reason="broken_stock")))
    outcome = await shop.verify(republish=True, dead_letters=dead_letters)
    assert list(outcome.republished) == republished
    assert outcome.verdict.passed
    assert outcome.verdict.dead == ["o5"]
