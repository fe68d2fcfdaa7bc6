"""What a customer declined is neither mailed nor promised to webhooks, and is kept as long as the account."""

from typing import Any

import pytest

from api_gateway.preferences import RedisPreferences
from notifier.domain import notification_of
from notifier.ports import AlreadySent, Attempt, Claim, Claimed, DeclinedByCustomer, HeldByAnother
from orderctl.oracle import Verdict
from shared import keyspace
from shared.errors import StoreUnavailable
from shared.keyspace import Channel
from shared.messages import Event, OrderShipped, event_time
from shared.messaging.retry import Bury, History
from shared.orders.redis.erasure import RedisOrderErasure
from tests.harness.examples import AT, TRACE, an_order, created
from tests.harness.gateway import a_placement
from tests.harness.notifying import notification_store
from tests.harness.shop import SECONDS, Shop
from tests.harness.stores import as_service

EVENT = created(an_order("a"))
BURIED = Bury(
    history=History(attempts=1, reason="undeliverable", last_failed_at=AT, last_error="no such mailbox")
)


class Mailed:
    """Ann's order, of which she is to be told, and what a notifier does about it."""

    def __init__(self, redis: Any) -> None:
        self.redis = redis
        self.store = notification_store(redis)
        self._preferences = RedisPreferences(as_service(redis, "api_gateway"), timeout_seconds=SECONDS)

    async def prefer(self, *declined: Channel, customer: str = "ann") -> None:
        """A customer declines these, and no others."""
        await self._preferences.decline(customer, declined)

    async def declined(self, customer: str) -> list[Channel]:
        """What the gateway shows."""
        return [*await self._preferences.declined_by(customer)]

    async def claim(self, owner: str, event: Event[Any] = EVENT, *, is_replay: bool = False) -> Claim:
        """The answer to one claim, after which what was declined is concluded as it is by the handler."""
        attempt = Attempt(
            notification=notification_of(event), owner=owner, channel="smtp", is_replay=is_replay
        )
        (claim,) = await self.store.claim([attempt])
        if isinstance(claim, DeclinedByCustomer):
            await self.store.settle(attempt, claim)
        return claim

    async def note(self) -> dict[str, str]:
        """What is known of the notification."""
        found: dict[str, str] = await self.redis.hgetall(keyspace.notifications("a"))
        return found

    async def steps(self) -> list[str]:
        """What has happened to the order."""
        (record,) = await Shop(self.redis).orders.get_many(["a"])
        return [step.step for step in record.timeline] if record else []


def attempt(owner: str) -> Attempt:
    """One owner's try."""
    return Attempt(notification=notification_of(EVENT), owner=owner, channel="smtp")


@pytest.fixture
async def mailed(redis: Any) -> Mailed:
    """A created order of Ann's."""
    shop = Shop(redis)
    await shop.orders.accept(a_placement(an_order("a"), customer="ann"))
    await redis.zrem(keyspace.OUTBOX, "a")
    await redis.set("inventory:cable", 10)
    await redis.hset(keyspace.SUPPLIED, "cable", 10)
    await shop.decide(an_order("a"), tell=False)
    return Mailed(redis)


async def test_all_channels_are_on_until_one_is_declined(mailed: Mailed) -> None:
    """Only what was declined is kept, with since when; choosing the same again leaves that."""
    assert await mailed.declined("ann") == []
    await mailed.prefer(Channel.MAIL)
    since = await mailed.redis.zscore("declined:mail", "ann")
    await mailed.prefer(Channel.MAIL, Channel.WEBHOOK)
    assert await mailed.declined("ann") == [Channel.MAIL, Channel.WEBHOOK]
    assert await mailed.redis.zscore("declined:mail", "ann") == since
    assert await mailed.declined("bob") == []
    await mailed.prefer()
    assert await mailed.redis.keys("declined:*") == []


async def test_a_customer_who_wants_no_mail_is_sent_none(mailed: Mailed) -> None:
    """The event is over, and the order says why; it is not told later either."""
    await mailed.prefer(Channel.MAIL)
    assert await mailed.claim("one") == DeclinedByCustomer()
    note = await mailed.note()
    assert (note["status"], note["event_id"]) == ("declined", EVENT.id)
    assert await mailed.redis.hgetall(keyspace.NOTIFICATION_COUNTS) == {"sending": "0", "declined": "1"}
    assert not await mailed.redis.exists(keyspace.UNTOLD)
    assert (await mailed.steps())[-1] == "notification_declined"
    await mailed.prefer()
    assert await mailed.claim("two") == AlreadySent()
    assert await mailed.claim("three", is_replay=True) == AlreadySent()


async def test_what_comes_after_mail_is_wanted_again_is_told(mailed: Mailed) -> None:
    """And what came before is not told after it."""
    await mailed.prefer(Channel.MAIL)
    shipped = Event(source="/o", time=event_time(AT), data=OrderShipped(order=an_order("a")), trace=TRACE)
    assert await mailed.claim("one", shipped) == DeclinedByCustomer()
    await mailed.prefer()
    assert await mailed.claim("two") == AlreadySent()
    assert (await mailed.note())["status"] == "declined"


@pytest.mark.parametrize("customer", ["bob", None], ids=["another customer's order", "a guest's order"])
async def test_only_who_declined_is_not_told(redis: Any, mailed: Mailed, customer: str | None) -> None:
    """Webhooks are another matter, and an order without a customer has no preferences."""
    order = an_order("b")
    await Shop(redis).orders.accept(a_placement(order, customer=customer))
    await mailed.prefer(Channel.MAIL)
    assert isinstance(await mailed.claim("one", created(order)), Claimed)
    await mailed.prefer(Channel.WEBHOOK)
    assert isinstance(await mailed.claim("two"), Claimed)


async def test_who_asks_again_is_answered_the_same(mailed: Mailed) -> None:
    """The first answer may have been lost, and the lease is the asker's own by then."""
    await mailed.prefer(Channel.MAIL)
    for _ in range(2):
        assert await mailed.store.claim([attempt("one")]) == [DeclinedByCustomer()]


async def test_a_letter_that_is_under_way_is_not_called_back(mailed: Mailed) -> None:
    """Its lease is kept, and that it went is what counts; when it was begun stays as it was."""
    assert isinstance(await mailed.claim("one"), Claimed)
    began = (await mailed.note())["sending_at"]
    await mailed.prefer(Channel.MAIL)
    assert await mailed.store.claim([attempt("one")]) == [DeclinedByCustomer()]
    assert isinstance(await mailed.claim("two"), HeldByAnother)
    await mailed.store.mark_sent([attempt("one")])
    note = await mailed.note()
    assert (note["status"], note["sending_at"]) == ("sent", began)


async def test_a_letter_that_went_although_its_lease_was_over_counts_as_sent(mailed: Mailed) -> None:
    """It was claimed before the customer declined; what another concluded meanwhile is not the truth."""
    await mailed.claim("one")
    await mailed.prefer(Channel.MAIL)
    await mailed.redis.delete(keyspace.notification_claim(EVENT.id))
    assert await mailed.claim("two") == DeclinedByCustomer()
    await mailed.store.mark_sent([attempt("one")])
    assert (await mailed.note())["status"] == "sent"
    assert await mailed.redis.hgetall(keyspace.NOTIFICATION_COUNTS) == {
        "sending": "0",
        "declined": "0",
        "sent": "1",
    }


async def test_retries_and_dead_letters_obey_what_holds_when_they_would_go(mailed: Mailed) -> None:
    """A copy that is buried late changes nothing of it."""
    await mailed.claim("one")
    await mailed.store.release([attempt("one")], "greylisted")
    await mailed.store.buried(EVENT, BURIED)
    await mailed.prefer(Channel.MAIL)
    assert await mailed.claim("redriven", is_replay=True) == DeclinedByCustomer()
    await mailed.store.buried(EVENT, BURIED)
    note = await mailed.note()
    assert note["status"] == "declined"
    assert "last_error" not in note


async def test_no_second_letter_goes_after_one_that_was_not_answered(mailed: Mailed) -> None:
    """That the first may have arrived stays known."""
    await mailed.claim("one")
    await mailed.store.mark_unconfirmed([attempt("one")], 1, "<a@shop>")
    await mailed.prefer(Channel.MAIL)
    assert isinstance(await mailed.claim("two"), HeldByAnother)
    await mailed.redis.set(keyspace.notification_claim(EVENT.id), "unconfirmed:1:0:one")
    assert await mailed.claim("two") == DeclinedByCustomer()
    note = await mailed.note()
    assert (note["status"], note["unconfirmed"]) == ("declined", "1")


async def test_a_list_of_the_wrong_type_claims_nothing(mailed: Mailed) -> None:
    """Who declined is not known then, and nothing is written."""
    await mailed.redis.set("declined:mail", "what?")
    with pytest.raises(StoreUnavailable):
        await mailed.claim("one")
    assert await mailed.note() == {}


async def test_erased_orders_stay_declined_and_preferences_go_last(redis: Any, mailed: Mailed) -> None:
    """Orders may come until the account's last token has expired, and no mail goes about those."""
    erasure = RedisOrderErasure(as_service(redis, "accounts"), timeout_seconds=SECONDS, retention_seconds=60)
    await redis.hset(keyspace.order("a"), "status", "delivered")
    await mailed.prefer(Channel.MAIL, Channel.WEBHOOK)
    await mailed.claim("one")
    await erasure.erase("ann")
    assert await redis.get(keyspace.notification_claim(EVENT.id)) == "declined"
    assert await redis.exists("declined:mail", "declined:webhook") == 2
    await erasure.forget("ann")
    assert await redis.exists("declined:mail", "declined:webhook") == 0


# --- verifying ----------------------------------------------------------------------------------------------


async def verdict_on(mailed: Mailed) -> Verdict:
    """What `orderctl verify` says."""
    return (await Shop(mailed.redis).verify()).verdict


async def test_who_declined_counts_as_told(mailed: Mailed) -> None:
    """It is said how many did."""
    assert (await verdict_on(mailed)).unannounced == ["a"]
    await mailed.prefer(Channel.MAIL)
    await mailed.claim("one")
    verdict = await verdict_on(mailed)
    assert verdict.why == {}
    assert (verdict.told, verdict.declined) == (0, 1)


async def test_a_letter_that_was_begun_before_is_no_fault_and_one_after_is(mailed: Mailed) -> None:
    """By the store's time of both."""
    await mailed.claim("one")
    await mailed.prefer(Channel.MAIL)
    await mailed.store.claim([attempt("one")])
    await mailed.store.mark_sent([attempt("one")])
    assert (await verdict_on(mailed)).passed
    await mailed.redis.zadd("declined:mail", {"ann": 1})
    assert "declined mail" in (await verdict_on(mailed)).why["a"]


async def test_a_notification_that_contradicts_the_choice_is_found(mailed: Mailed) -> None:
    """As after a change by hand."""
    await mailed.prefer(Channel.MAIL)
    await mailed.claim("one")
    await mailed.redis.hset(keyspace.notifications("a"), "status", "sending")
    assert (await verdict_on(mailed)).unexpected == ["a"]
