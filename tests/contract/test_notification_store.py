"""Claiming, sending and marking notifications, over the real scripts on both stores."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from unittest.mock import ANY

import pytest

from notifier.domain import notification_of
from notifier.ports import (
    AlreadySent,
    Attempt,
    Claim,
    Claimed,
    Exhausted,
    HeldByAnother,
    RefusedLate,
    UnreadableClaim,
)
from notifier.store import RedisNotificationStore
from shared import keyspace
from shared.errors import PermanentError, StoreUnavailable
from shared.messages import Event, EventData
from shared.messaging.retry import Bury, History, Wait
from shared.redis.client import Redis
from tests.harness.examples import AT, an_order, created, rejected
from tests.harness.notifying import CONFIRM_SECONDS, notification_store

LEASE = 15.0
RETENTION = 600.0


@pytest.fixture
def store(redis: Redis) -> RedisNotificationStore:
    """A store with a lease of fifteen seconds."""
    return notification_store(redis, lease_seconds=LEASE, retention_seconds=RETENTION)


def attempt(owner: str = "one", event: Event[Any] | None = None) -> Attempt:
    """One owner's try at the notification of an event."""
    return Attempt(notification=notification_of(event or event_a()), owner=owner, channel="log")


def event_a() -> Event[EventData]:
    """The creation of order a."""
    return created(an_order("a"))


async def claim_one(store: RedisNotificationStore, each: Attempt) -> Claim:
    """The answer to one claim."""
    (claim,) = await store.claim([each])
    return claim


async def record_of(redis: Any, order_id: str = "a") -> dict[str, str]:
    """``notifications:{order id}`` as it stands."""
    record: dict[str, str] = await redis.hgetall(keyspace.notifications(order_id))
    return record


async def counts(redis: Any) -> dict[str, int]:
    """How many orders' latest notification has each status; those that none has are left out."""
    found = await redis.hgetall(keyspace.NOTIFICATION_COUNTS)
    return {status: int(count) for status, count in found.items() if int(count)}


def buried(error: str = "mailbox gone") -> Bury:
    """The fate of a message that is given up."""
    return Bury(history=History(attempts=1, reason="undeliverable", last_failed_at=AT, last_error=error))


# --- claiming -----------------------------------------------------------------------------------------------


async def test_a_claim_is_a_lease_and_starts_a_record(redis: Any, store: RedisNotificationStore) -> None:
    """From here on everybody else waits, and the order shows that it is being told."""
    before = time.monotonic()
    claim = await claim_one(store, attempt())
    assert isinstance(claim, Claimed)
    assert claim.attempts == 1
    assert before + LEASE <= claim.until <= time.monotonic() + LEASE
    assert 0 < await redis.pttl(keyspace.notification_claim(event_a().id)) <= LEASE * 1000
    record = await record_of(redis)
    assert (record["status"], record["event_id"], record["channel"]) == ("sending", event_a().id, "log")
    assert 0 < await redis.ttl("notifications:a") <= RETENTION
    assert await counts(redis) == {"sending": 1}


async def test_a_claim_that_another_holds_says_for_how_long(store: RedisNotificationStore) -> None:
    """The second comes back after what remains of the lease, not at once."""
    await claim_one(store, attempt("one"))
    claim = await claim_one(store, attempt("two"))
    assert isinstance(claim, HeldByAnother)
    assert 0 < claim.seconds <= LEASE


async def test_a_lease_that_has_ended_can_be_claimed_by_another(
    redis: Any, store: RedisNotificationStore
) -> None:
    """Whoever died while sending holds nobody up for longer, and the attempts are counted."""
    await claim_one(store, attempt("one"))
    await redis.delete(keyspace.notification_claim(event_a().id))
    claim = await claim_one(store, attempt("two"))
    assert isinstance(claim, Claimed)
    assert claim.attempts == 2
    assert await counts(redis) == {"sending": 1}


async def test_the_same_owner_may_claim_again_and_renews_its_lease(
    redis: Any, store: RedisNotificationStore
) -> None:
    """A script that ran twice is one attempt."""
    await claim_one(store, attempt())
    await redis.pexpire(keyspace.notification_claim(event_a().id), 1000)
    claim = await claim_one(store, attempt())
    assert isinstance(claim, Claimed)
    assert claim.attempts == 1
    assert await redis.pttl(keyspace.notification_claim(event_a().id)) > 1000


async def test_claims_of_a_batch_are_answered_one_by_one(redis: Any, store: RedisNotificationStore) -> None:
    """Sent, held, broken and free stand side by side."""
    attempts = {order_id: attempt(order_id, created(an_order(order_id))) for order_id in "abcd"}
    await store.claim([attempts["a"]])
    await store.mark_sent([attempts["a"]])
    await store.claim([attempt("somebody", created(an_order("b")))])
    await redis.set("notifications:c", "of the wrong type")
    claims = await store.claim(list(attempts.values()))
    assert [type(claim) for claim in claims] == [AlreadySent, HeldByAnother, UnreadableClaim, Claimed]
    assert await redis.exists(keyspace.notification_claim(attempts["c"].notification.id)) == 0


# --- sent ---------------------------------------------------------------------------------------------------


async def test_what_was_sent_is_never_claimed_again(redis: Any, store: RedisNotificationStore) -> None:
    """For as long as the order is kept."""
    await store.claim([attempt()])
    await store.mark_sent([attempt()])
    assert await claim_one(store, attempt("two")) == AlreadySent()
    assert await redis.get(keyspace.notification_claim(event_a().id)) == "sent"
    assert RETENTION - 10 < await redis.ttl(keyspace.notification_claim(event_a().id)) <= RETENTION
    record = await record_of(redis)
    assert record["status"] == "sent"
    assert int(record["sent_at"]) >= int(record["sending_at"])
    assert await counts(redis) == {"sent": 1}


async def test_marking_twice_is_marking_once(redis: Any, store: RedisNotificationStore) -> None:
    """The mark is repeated until the store has answered."""
    await store.claim([attempt()])
    await store.mark_sent([attempt()])
    before = await record_of(redis)
    await store.mark_sent([attempt()])
    assert (await record_of(redis), await counts(redis)) == (before, {"sent": 1})


async def test_sent_is_sent_even_when_another_has_claimed_by_now(
    redis: Any, store: RedisNotificationStore
) -> None:
    """A sender that stalled past its lease has still told the customer."""
    await store.claim([attempt("slow")])
    await redis.delete(keyspace.notification_claim(event_a().id))
    await store.claim([attempt("quick")])
    await store.mark_sent([attempt("slow")])
    assert await claim_one(store, attempt("third")) == AlreadySent()
    await store.release([attempt("quick")], "busy")
    await store.buried(event_a(), buried())
    assert (await record_of(redis))["status"] == "sent"
    assert await counts(redis) == {"sent": 1}


async def test_a_mark_works_without_any_claim_left(redis: Any, store: RedisNotificationStore) -> None:
    """The store may have been restored from an older copy in between."""
    await store.mark_sent([attempt()])
    assert await claim_one(store, attempt("two")) == AlreadySent()
    assert await counts(redis) == {"sent": 1}


# --- not sent -----------------------------------------------------------------------------------------------


async def test_a_released_notification_can_be_claimed_at_once(
    redis: Any, store: RedisNotificationStore
) -> None:
    """The failure is noted, counted as an attempt, and nobody waits for the lease."""
    await store.claim([attempt("one")])
    await store.release([attempt("one")], "greylisted")
    record = await record_of(redis)
    assert (record["status"], record["last_error"]) == ("sending", "greylisted")
    claim = await claim_one(store, attempt("two"))
    assert isinstance(claim, Claimed)
    assert claim.attempts == 2


async def test_only_the_holder_can_release(store: RedisNotificationStore) -> None:
    """A late release must not open the way for a third to send at the same time."""
    await store.claim([attempt("one")])
    await store.release([attempt("two")], "late")
    assert isinstance(await claim_one(store, attempt("three")), HeldByAnother)


async def test_what_is_given_back_untried_costs_no_attempt(redis: Any, store: RedisNotificationStore) -> None:
    """An outage of the way to the customer is nobody's failure."""
    both = [attempt("one"), attempt("two", created(an_order("b")))]
    await store.claim(both)
    await store.give_back(both, "mail server away")
    assert [(await record_of(redis, order_id))["attempts"] for order_id in "ab"] == ["0", "0"]
    claims = await store.claim([attempt("three"), attempt("four", created(an_order("b")))])
    assert [claim.attempts for claim in claims if isinstance(claim, Claimed)] == [1, 1]


async def test_the_error_is_forgotten_once_it_was_sent(redis: Any, store: RedisNotificationStore) -> None:
    """An operator is not shown a trouble that is over."""
    await store.claim([attempt("one")])
    await store.release([attempt("one")], "greylisted")
    await store.claim([attempt("two")])
    await store.mark_sent([attempt("two")])
    assert "last_error" not in await record_of(redis)


async def test_a_dead_lettered_notification_is_shown_as_failed_and_can_be_redriven(
    redis: Any, store: RedisNotificationStore
) -> None:
    """What was tried last is given back before it is dead-lettered, so nothing is in the operator's way."""
    await store.claim([attempt("one")])
    await store.release([attempt("one")], "mailbox gone")
    await store.buried(event_a(), buried("mailbox gone"))
    record = await record_of(redis)
    assert (record["status"], record["last_error"]) == ("failed", "mailbox gone")
    assert await counts(redis) == {"failed": 1}
    assert isinstance(await claim_one(store, attempt("redriven")), Claimed)
    await store.mark_sent([attempt("redriven")])
    assert await counts(redis) == {"sent": 1}


async def test_a_claim_or_release_that_comes_too_late_leaves_what_failed_as_it_is(
    redis: Any, store: RedisNotificationStore
) -> None:
    """Nobody waits for its answer any more, so nobody would ever say how it ended."""
    await store.claim([attempt("one")])
    await store.release([attempt("one")], "mailbox gone")
    await store.buried(event_a(), buried("mailbox gone"))
    await store.claim([attempt("late")])
    await store.release([attempt("later")], "timed out")
    await store.release([attempt("late")], "timed out")
    record = await record_of(redis)
    assert (record["status"], record["last_error"]) == ("failed", "mailbox gone")
    assert await counts(redis) == {"failed": 1}


async def test_a_copy_that_is_dead_lettered_leaves_the_claim_of_who_is_sending(
    redis: Any, store: RedisNotificationStore
) -> None:
    """Were it ended, a third could send at the same time."""
    await store.claim([attempt("sender")])
    await store.buried(event_a(), buried("delivered 10 times without an ack"))
    assert isinstance(await claim_one(store, attempt("third")), HeldByAnother)
    await store.mark_sent([attempt("sender")])
    assert await counts(redis) == {"sent": 1}


async def test_what_was_dead_lettered_unhandled_has_a_record_too(
    redis: Any, store: RedisNotificationStore
) -> None:
    """A message that never came to its handler is missing nowhere."""
    await store.buried(event_a(), buried("delivered 10 times without an ack"))
    assert (await record_of(redis))["status"] == "failed"
    assert await counts(redis) == {"failed": 1}


async def test_waiting_for_a_retry_changes_nothing(redis: Any, store: RedisNotificationStore) -> None:
    """It counts as being sent until it is sent or given up."""
    await store.claim([attempt()])
    before = await record_of(redis)
    history = History(attempts=1, reason="send_failed")
    await store.waits(event_a(), Wait(tier_seconds=5, expiration_seconds=4.0, history=history))
    assert await record_of(redis) == before


# --- unconfirmed --------------------------------------------------------------------------------------------


async def unanswered(store: RedisNotificationStore, owner: str, letters: int) -> None:
    """A letter of this owner goes out and is not answered."""
    await store.claim([attempt(owner)])
    if letters > 1:
        assert await store.begin_last([attempt(owner)])
    await store.mark_unconfirmed([attempt(owner)], letters, "<a@shop>")


async def time_passes(redis: Any) -> None:
    """No answer can come any more."""
    key = keyspace.notification_claim(event_a().id)
    _, letters, _, owner = (await redis.get(key)).split(":")
    await redis.set(key, f"unconfirmed:{letters}:1:{owner}", ex=600)


async def test_an_unconfirmed_letter_is_waited_for(redis: Any, store: RedisNotificationStore) -> None:
    """The record says when and which, and outlives the lease; others come back later."""
    await unanswered(store, "one", 1)
    record = await record_of(redis)
    assert (record["status"], record["unconfirmed"], record["message_id"]) == ("sending", "1", "<a@shop>")
    assert int(record["unconfirmed_at"]) >= int(record["sending_at"])
    claim = await claim_one(store, attempt("two"))
    assert isinstance(claim, HeldByAnother)
    assert LEASE < claim.seconds <= CONFIRM_SECONDS
    assert await redis.ttl(keyspace.notification_claim(event_a().id)) > CONFIRM_SECONDS
    await claim_one(store, attempt("one"))  # a renewal that comes late shortens nothing
    assert isinstance(await claim_one(store, attempt("two")), HeldByAnother)


async def test_a_late_answer_settles_what_is_unconfirmed(redis: Any, store: RedisNotificationStore) -> None:
    """Sent is sent, and nothing is unknown any more."""
    await unanswered(store, "one", 1)
    await store.mark_sent([attempt("one")])
    record = await record_of(redis)
    assert record["status"] == "sent"
    assert "unconfirmed" not in record
    assert await counts(redis) == {"sent": 1}


async def test_one_more_letter_may_go_and_no_third(redis: Any, store: RedisNotificationStore) -> None:
    """Then it counts as sent, unconfirmed; a last answer may yet confirm it."""
    await unanswered(store, "one", 1)
    await time_passes(redis)
    assert await claim_one(store, attempt("two")) == Claimed(attempts=2, until=ANY, unconfirmed=1)
    assert isinstance(await claim_one(store, attempt("three")), HeldByAnother)
    await unanswered(store, "two", 2)
    assert isinstance(await claim_one(store, attempt("three")), HeldByAnother)
    await time_passes(redis)
    assert await claim_one(store, attempt("three")) == Exhausted()
    await store.settle(attempt("three"), Exhausted())
    assert await claim_one(store, attempt("four")) == AlreadySent()
    record = await record_of(redis)
    assert (record["status"], record["unconfirmed"]) == ("sent", "2")
    assert await counts(redis) == {"sent": 1}
    await store.mark_sent([attempt("two")])
    assert "unconfirmed" not in await record_of(redis)


async def test_a_second_letter_that_did_not_go_or_was_refused_may_go_again(
    redis: Any, store: RedisNotificationStore
) -> None:
    """Only letters that are not answered count; a crash while the second goes counts as one."""
    await unanswered(store, "one", 1)
    await time_passes(redis)
    for owner, ending in [("two", store.give_back), ("three", store.give_back), ("four", None)]:
        claim = await claim_one(store, attempt(owner))
        assert isinstance(claim, Claimed)
        assert claim.unconfirmed == 1
        assert owner == "two" or await store.begin_last([attempt(owner)])
        await (ending([attempt(owner)], "away") if ending else store.release([attempt(owner)], "greylisted"))
    await store.claim([attempt("five")])
    assert await store.begin_last([attempt("five")])
    await time_passes(redis)
    assert await claim_one(store, attempt("six")) == Exhausted()


async def test_a_late_refusal_is_told_once_to_who_asks_next(
    redis: Any, store: RedisNotificationStore
) -> None:
    """The event climbs the ladder, or is dead-lettered, as if it had been refused at once."""
    for owner, is_final in [("one", False), ("two", True)]:
        await unanswered(store, owner, 1)
        await store.refuse_late([attempt(owner)], "no", is_final=is_final)
        assert await claim_one(store, attempt("next")) == RefusedLate(error="no", is_final=is_final)
        claim = await claim_one(store, attempt("next"))
        assert isinstance(claim, Claimed)
        assert claim.unconfirmed == 0
        await store.give_back([attempt("next")], "")


async def test_only_the_holder_of_the_claim_can_call_a_letter_unconfirmed(
    redis: Any, store: RedisNotificationStore
) -> None:
    """A stalled sender leaves the one alone that took over, and what is over already."""
    await store.claim([attempt("one")])
    await store.mark_unconfirmed([attempt("stalled")], 1, "<a@shop>")
    assert not await store.begin_last([attempt("stalled")])
    await store.mark_sent([attempt("one")])
    await store.mark_unconfirmed([attempt("one")], 1, "<a@shop>")
    await store.settle(attempt("one"), Exhausted())
    assert await claim_one(store, attempt("two")) == AlreadySent()
    assert "unconfirmed" not in await record_of(redis)


async def test_a_letter_counts_whose_lease_ended_while_the_store_was_away(
    redis: Any, store: RedisNotificationStore
) -> None:
    """No other has claimed since: one more letter may go, and none under the lease that ended."""
    await store.claim([attempt("one")])
    await redis.delete(keyspace.notification_claim(event_a().id))
    assert not await store.begin_last([attempt("one")])
    await store.mark_unconfirmed([attempt("one")], 1, "<a@shop>")
    assert isinstance(await claim_one(store, attempt("two")), HeldByAnother)
    await time_passes(redis)
    assert await claim_one(store, attempt("two")) == Claimed(attempts=2, until=ANY, unconfirmed=1)


# --- several events and orders -----------------------------------------------------------------------------


async def test_the_record_is_of_the_latest_event_alone(redis: Any, store: RedisNotificationStore) -> None:
    """An order counts once, under the status of what it was told last."""
    first, second = attempt("one"), attempt("two", rejected(an_order("a")))
    await store.claim([first])
    await store.mark_sent([first])
    await store.claim([second])
    record = await record_of(redis)
    assert (record["event_id"], record["status"], record["attempts"]) == (
        second.notification.id,
        "sending",
        "1",
    )
    assert "sent_at" not in record
    assert await counts(redis) == {"sending": 1}


async def test_a_late_end_of_an_older_event_leaves_the_newer_record_alone(
    redis: Any, store: RedisNotificationStore
) -> None:
    """The older one is never sent again, and the order is shown by what it is being told now."""
    first, second = attempt("one"), attempt("two", rejected(an_order("a")))
    await store.claim([first])
    await store.claim([second])
    newer = await record_of(redis)
    await store.mark_sent([first])
    assert await record_of(redis) == newer | {"told": first.notification.id}
    assert await claim_one(store, attempt("three")) == AlreadySent()
    assert await counts(redis) == {"sending": 1}


async def test_counts_are_of_orders_by_status(redis: Any, store: RedisNotificationStore) -> None:
    """The dashboard reads three figures instead of every record."""
    attempts = {order_id: attempt(order_id, created(an_order(order_id))) for order_id in "abcd"}
    await store.claim(list(attempts.values()))
    await store.mark_sent([attempts["a"], attempts["b"]])
    await store.buried(created(an_order("c")), buried())
    assert await counts(redis) == {"sending": 1, "sent": 2, "failed": 1}


Ending = Callable[[RedisNotificationStore], Awaitable[None]]


@pytest.mark.parametrize(
    ("end", "is_over"),
    [
        (lambda store: store.mark_sent([attempt()]), True),
        (lambda store: store.buried(event_a(), buried()), True),
        (lambda store: store.release([attempt()], "mailbox full"), False),
        (lambda store: store.give_back([attempt()], "no way there"), False),
    ],
    ids=["sent", "given up", "refused", "not tried"],
)
async def test_a_customer_waits_until_told_or_given_up(
    redis: Any, store: RedisNotificationStore, end: Ending, is_over: bool
) -> None:
    """The list has who waits; another event's customer stays on it."""
    await redis.zadd(keyspace.UNTOLD, {event_a().id: 1, "b:order.created.v1": 2})
    await claim_one(store, attempt())
    await end(store)
    left = [] if is_over else [event_a().id]
    assert await redis.zrange(keyspace.UNTOLD, 0, -1) == [*left, "b:order.created.v1"]


async def test_of_a_replay_goes_only_what_is_known_to_be_untold(
    redis: Any, store: RedisNotificationStore
) -> None:
    """Neither what was sent, nor what nothing is known of any more; a letter that failed may go."""
    again = replace(attempt("again"), is_replay=True)
    assert await claim_one(store, again) == AlreadySent()
    assert await redis.keys("*") == []
    await store.buried(event_a(), buried())
    assert isinstance(await claim_one(store, again), Claimed)
    await store.mark_sent([again])
    await redis.delete(keyspace.notification_claim(event_a().id))  # it has expired
    assert await claim_one(store, again) == AlreadySent()
    assert isinstance(await claim_one(store, attempt()), Claimed)
    await store.release([attempt()], "later")
    await redis.zadd(keyspace.UNTOLD, {event_a().id: 1})
    assert isinstance(await claim_one(store, again), Claimed)


async def test_a_collected_event_waits_from_when_its_address_may_have_a_letter(
    redis: Any, store: RedisNotificationStore
) -> None:
    """Until then it is not late; what is not on the list is not put there."""
    seconds, _ = await redis.time()
    await claim_one(store, attempt())
    await store.hold_back([attempt()])
    assert not await redis.exists(keyspace.UNTOLD)
    await redis.zadd(keyspace.UNTOLD, {event_a().id: 1})
    await claim_one(store, attempt())
    await store.hold_back([attempt()])
    later = await redis.zscore(keyspace.UNTOLD, event_a().id) / 1_000_000 - seconds
    assert 3_600 <= later < 3_660


async def test_a_letter_without_an_answer_ends_the_waiting_too(
    redis: Any, store: RedisNotificationStore
) -> None:
    """Two went; there will be no third."""
    await redis.zadd(keyspace.UNTOLD, {event_a().id: 1})
    await claim_one(store, attempt())
    await store.mark_unconfirmed([attempt()], 2, "message")
    assert await redis.exists(keyspace.UNTOLD)
    await store.settle(attempt(), Exhausted())
    assert not await redis.exists(keyspace.UNTOLD)


async def test_a_list_of_the_wrong_type_marks_nothing(redis: Any, store: RedisNotificationStore) -> None:
    """It is an outage, seen before anything is written."""
    await claim_one(store, attempt())
    await redis.set(keyspace.UNTOLD, "what?")
    before = await record_of(redis)
    with pytest.raises(StoreUnavailable):
        await store.mark_sent([attempt()])
    assert await record_of(redis) == before


@pytest.mark.parametrize("key", ["notif:a:order.created.v1", "notifications:a", "notifications.counts"])
async def test_a_key_of_the_wrong_type_claims_nothing_and_writes_nothing(
    redis: Any, store: RedisNotificationStore, key: str
) -> None:
    """Every key is looked at before the first is written."""
    await redis.rpush(key, "what?")
    if key == keyspace.NOTIFICATION_COUNTS:  # which all share: an outage, and no message's fault
        with pytest.raises(StoreUnavailable):
            await claim_one(store, attempt())
    else:
        assert isinstance(await claim_one(store, attempt()), UnreadableClaim)
    with pytest.raises((PermanentError, StoreUnavailable)):
        await store.mark_sent([attempt()])
    assert await redis.keys("*") == [key]


@pytest.mark.parametrize("is_kept", [True, False], ids=["with its order", "after its order has gone"])
async def test_what_was_told_is_shown_as_long_as_its_order(
    redis: Any, store: RedisNotificationStore, is_kept: bool
) -> None:
    """An order may be open for longer than others are kept; what comes after it has its retention."""
    if is_kept:
        await redis.hset(keyspace.order("a"), "status", "created")
    await store.claim([attempt()])
    await store.mark_sent([attempt()])
    life = await redis.ttl(keyspace.notifications("a"))
    assert life == -1 if is_kept else 0 < life <= RETENTION
