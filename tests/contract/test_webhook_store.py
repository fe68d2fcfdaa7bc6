"""Webhooks in SQL: the same on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.webhooks.schemas import DeliveryStatus
from tests.harness.webhooks import CREATED, DAY, LEASE_SECONDS, MONTH, WebhookWorld, told, webhook_world
from webhooks import log
from webhooks.endpoints import TooManyEndpoints, UnknownEndpoint
from webhooks.model import (
    OPERATORS,
    SECOND,
    UNOWNED,
    DeliveryAttempt,
    DueEndpoint,
    owner_of,
)
from webhooks.schema import DELIVERIES

URL = "https://receiver.example/hook"
ALICE = owner_of("alice")


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[WebhookWorld]:
    """An empty one, in which an owner may have three endpoints."""
    async with webhook_world(database_url, most=3) as made:
        yield made


async def test_an_event_is_promised_once_to_each_endpoint_that_may_know_of_it(world: WebhookWorld) -> None:
    """A customer's own orders, an operator's all, those of no customer; of the types that are wanted."""
    operators, hers, unowned, cancels = (
        await world.endpoint(URL),
        await world.endpoint(URL, ALICE),
        await world.endpoint(URL, UNOWNED),
        await world.endpoint(URL, events=("order.cancelled.v1",)),
    )
    events = [told("a", "alice"), told("b", "bob"), told("c")]
    assert await world.deliveries.record([*events, *events]) == 5
    assert await world.deliveries.record(events) == 0
    standing = [await world.standing(each) for each in (operators, hers, unowned, cancels)]
    assert [{n: each.event_id for n, each in found.items()} for found in standing] == [
        {1: "a", 2: "b", 3: "c"},
        {1: "a"},
        {1: "c"},
        {},
    ]


async def test_numbers_have_no_gap_although_several_write_and_some_fail(world: WebhookWorld) -> None:
    """Replicas that are told the same events at one time, in another order, and one that breaks off."""
    endpoint = await world.endpoint(URL)
    names = [f"e{number}" for number in range(12)]
    batches = [names, names[::-1], names[6:], names[:6]]
    await asyncio.gather(*(world.record(*batch) for batch in batches))
    with pytest.raises(IntegrityError):
        await world.deliveries.record([told("e99"), replace(told("f"), body=cast(str, None))])
    await world.record("g")
    standing = await world.standing(endpoint)
    assert list(standing) == list(range(1, 14))
    assert {each.event_id for each in standing.values()} == {*names, "g"}


async def test_a_claim_is_one_replicas_until_its_lease_ends(world: WebhookWorld) -> None:
    """Of replicas that ask at one time each delivery is one's alone; afterwards it is due again."""
    endpoint = await world.endpoint(URL)
    await world.record("a", "b", "c", "d")
    assert await world.deliveries.endpoints_due() == {
        endpoint.id: DueEndpoint(owner=endpoint.owner, is_failing=False)
    }
    both = await asyncio.gather(*(world.deliveries.claim({endpoint.id: 3}) for _ in range(2)))
    claimed = [each.sequence for claims in both for each in claims]
    assert len(claimed) == len(set(claimed))
    rest = await world.deliveries.claim({endpoint.id: 9})
    assert sorted(claimed + [each.sequence for each in rest]) == [1, 2, 3, 4]
    assert await world.deliveries.endpoints_due() == {}
    world.clock.pass_by(LEASE_SECONDS)
    assert len(await world.deliveries.claim({endpoint.id: 9})) == 4


async def test_an_owner_has_a_bounded_number_of_endpoints(world: WebhookWorld) -> None:
    """And others have theirs."""
    made = [await world.endpoint(URL, ALICE) for _ in range(2)]
    more = await asyncio.gather(*(world.endpoint(URL, ALICE) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(each, TooManyEndpoints) for each in more) == 2
    await world.endpoint(URL, owner_of("bob"))
    await world.endpoints.remove(ALICE, made[0].id)
    await world.endpoint(URL, ALICE)


async def test_those_who_add_their_first_endpoints_at_one_time_have_a_bounded_number(
    world: WebhookWorld,
) -> None:
    """Of one who has none yet there is no row whose lock they could wait for."""
    ended = await asyncio.gather(*(world.endpoint(URL, ALICE) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(each, TooManyEndpoints) for each in ended) == 5
    assert len(await world.endpoints.of_owner(ALICE)) == 3


async def test_an_endpoint_is_its_owners_alone(world: WebhookWorld) -> None:
    """To others it is as if it were not there, whatever they try."""
    endpoint, bob = await world.endpoint(URL, ALICE), owner_of("bob")
    for attempt in (
        world.endpoints.get(bob, endpoint.id),
        world.endpoints.change(OPERATORS, endpoint.id, {"url": "x"}),
        world.endpoints.rotate(bob, endpoint.id),
        world.endpoints.remove(UNOWNED, endpoint.id),
    ):
        with pytest.raises(UnknownEndpoint):
            await attempt
    assert await world.endpoints.of_owner(bob) == []
    assert await world.endpoints.get(ALICE, endpoint.id) == endpoint


async def test_what_is_removed_leaves_nothing_and_stops_nothing(world: WebhookWorld) -> None:
    """Also where an attempt is under way."""
    endpoint = await world.endpoint(URL, ALICE)
    await world.record("a", customer="alice")
    (claimed,) = await world.deliveries.claim({endpoint.id: 1})
    await world.endpoints.forget_owners([ALICE])
    attempt = DeliveryAttempt(at=world.clock(), milliseconds=1, status=204)
    assert await world.outcomes.settle(claimed, attempt) is DeliveryStatus.FAILED
    assert await world.deliveries.claim({endpoint.id: 1}) == []
    assert await world.standing(endpoint) == {}


async def test_both_secrets_sign_for_the_grace_time(world: WebhookWorld) -> None:
    """The new one first; afterwards it alone."""
    endpoint, first = await world.endpoints.create(ALICE, URL, [CREATED], "")
    _, second = await world.endpoints.rotate(ALICE, endpoint.id)
    assert first.startswith("whsec_")
    assert first != second
    await world.record("a", "b", customer="alice")
    (claimed,) = await world.deliveries.claim({endpoint.id: 1})
    assert claimed.secrets == [second, first]
    world.clock.pass_by(DAY)
    (claimed,) = await world.deliveries.claim({endpoint.id: 1})
    assert claimed.secrets == [second]


async def test_what_failed_since_a_time_is_recovered_and_one_is_sent_again(world: WebhookWorld) -> None:
    """Each with three days of its own from then on; what was delivered is recovered never."""
    endpoint = await world.endpoint(URL, ALICE)
    await world.record("old", customer="alice")
    await world.send()
    await world.endpoints.change(ALICE, endpoint.id, {"disabled_reason": "x"})
    await world.record("early", customer="alice")
    world.clock.pass_by(10)
    await world.record("late", "later", customer="alice")
    failed = [each.event_id for each in (await world.standing(endpoint)).values() if each.status == "failed"]
    assert failed == ["early", "late", "later"]
    await world.endpoints.change(ALICE, endpoint.id, {"disabled_reason": None})
    assert await world.log.recover(endpoint.id, world.clock() - 5 * SECOND) == 2
    again = await world.log.resend(endpoint.id, 1)
    assert again is not None
    assert (again.status, await world.log.resend(endpoint.id, 99)) == ("pending", None)
    await world.send()
    assert sorted(world.receivers.of(URL)) == [1, 1, 3, 4]
    assert (await world.standing(endpoint))[2].status is DeliveryStatus.FAILED


async def test_pages_of_the_log_lead_on(world: WebhookWorld) -> None:
    """Newest first, those of one status where that is asked for."""
    endpoint = await world.endpoint(URL, ALICE)
    await world.record("a", "b", "c", customer="alice")
    first = await world.log.page(endpoint.id, None, None, 2)
    second = await world.log.page(endpoint.id, None, first[-1].sequence, 2)
    assert [each.sequence for each in (*first, *second)] == [3, 2, 1]
    await world.send()
    assert await world.log.page(endpoint.id, "pending", None, 9) == []
    (attempt,) = (await world.log.page(endpoint.id, "succeeded", None, 1))[0].latest
    assert (attempt.status, attempt.milliseconds, attempt.at) == (204, 1, world.clock())


async def test_the_log_forgets_what_is_settled_and_old(world: WebhookWorld) -> None:
    """What is pending stays, and numbers go on."""
    endpoint = await world.endpoint(URL, ALICE)
    await world.record("a", customer="alice")
    await world.send()
    world.receivers.answers[URL] = 500
    await world.record("b", customer="alice")
    await world.send()
    world.clock.pass_by(MONTH - 1)
    assert await world.log.sweep() == 0
    world.clock.pass_by(2)
    assert (await world.log.sweep(), await world.log.sweep()) == (1, 0)
    await world.record("c", customer="alice")
    assert list(await world.standing(endpoint)) == [2, 3]


async def test_a_number_that_is_missing_is_seen(world: WebhookWorld) -> None:
    """Wherever it is missing; what was forgotten for its age is none."""
    whole, cut, behind = [await world.endpoint(URL, owner) for owner in (OPERATORS, ALICE, UNOWNED)]
    await world.record("a", customer="alice")
    await world.record("b")
    await world.send()
    world.clock.pass_by(MONTH - 10)
    await world.record("c", "d", "e", customer="alice")
    await world.record("f", "g")
    world.clock.pass_by(20)
    assert await world.log.sweep() == 4
    assert await world.log.gaps() == []

    async def lose(connection: AsyncConnection) -> None:
        for endpoint, sequence in ((cut, 3), (behind, 3)):
            these = DELIVERIES.c.endpoint_id == endpoint.id, DELIVERIES.c.sequence == sequence
            await connection.execute(delete(DELIVERIES).where(*these))

    await world.database.transaction(lose)
    assert set(await world.log.gaps()) == {cut.id, behind.id} - {whole.id}


async def test_figures_tell_what_waits_and_what_waits_too_long(world: WebhookWorld) -> None:
    """A receiver that fails makes nothing late: its deliveries wait for it."""
    await world.endpoint(URL)
    await world.record("a")
    world.clock.pass_by(7)
    waiting = await world.log.waiting()
    assert waiting.pending == 1
    assert waiting.due_since is not None
    assert world.clock() - waiting.due_since == 7 * SECOND
    world.receivers.answers[URL] = 500
    await world.send()
    world.clock.pass_by(60)
    waiting = await world.log.waiting()
    assert (waiting.pending, waiting.due_since) == (1, None)


async def test_what_waits_for_a_disabled_endpoint_is_attempted_no_more_and_fails(world: WebhookWorld) -> None:
    """A part at a time; what waits for others stays as it is."""
    endpoint, other = await world.endpoint(URL, ALICE), await world.endpoint(URL)
    await world.record("a", "b", customer="alice")
    await world.endpoints.change(ALICE, endpoint.id, {"disabled_reason": "x"})
    assert await world.deliveries.endpoints_due() == {
        other.id: DueEndpoint(owner=other.owner, is_failing=False)
    }
    assert (await world.log.fail_disabled(), await world.log.fail_disabled()) == (2, 0)
    assert {each.status for each in (await world.standing(other)).values()} == {"pending"}


async def test_a_long_outage_is_recovered_part_by_part(
    world: WebhookWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lowest numbers first, until nothing is left."""
    monkeypatch.setattr(log, "MOST_AT_ONCE", 2)
    endpoint = await world.endpoint(URL, ALICE)
    await world.endpoints.change(ALICE, endpoint.id, {"disabled_reason": "x"})
    await world.record("a", "b", "c", customer="alice")
    assert [await world.log.recover(endpoint.id, 0) for _ in range(3)] == [2, 1, 0]


async def test_where_no_owner_is_to_be_told_operators_alone_are(world: WebhookWorld) -> None:
    """Not even those who need not say who they are."""
    endpoints = [await world.endpoint(URL, owner) for owner in (OPERATORS, ALICE, UNOWNED)]
    await world.deliveries.record([replace(told("a"), owner=None)])
    assert [len(await world.standing(each)) for each in endpoints] == [1, 0, 0]
