"""How deliveries are attempted, put off and given up, over days that pass in a moment."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.webhooks.schemas import DeliveryStatus
from tests.harness.waiting import wait_until
from tests.harness.webhooks import DAY, LEASE_SECONDS, WebhookWorld, webhook_world
from webhooks.model import (
    DISABLED_FAILING,
    DISABLED_GONE,
    LATEST_SHOWN,
    OPERATORS,
    DeliveryAttempt,
    owner_of,
)

URL = "https://receiver.example/hook"
DEAD = "https://dead.example/hook"
AWAY = "ClientConnectorError: refused"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[WebhookWorld]:
    """An empty one."""
    async with webhook_world(f"sqlite:///{tmp_path}/webhooks.db") as made:
        yield made


async def test_each_answer_of_200_to_299_delivers_and_no_other(world: WebhookWorld) -> None:
    """A redirect is none, wherever it leads."""
    endpoint = await world.endpoint(URL)
    for number, status in enumerate((200, 204, 299, 301, 307, 400, 404, 500), 1):
        world.receivers.answers[URL] = status
        await world.record(f"e{number}")
        await world.send()
        (delivery,) = await world.log.page(endpoint.id, None, None, 1)
        expected = DeliveryStatus.SUCCEEDED if status < 300 else DeliveryStatus.PENDING
        assert delivery.status is expected, status
        world.clock.pass_by(600)


async def test_a_receiver_that_is_away_for_an_hour_gets_everything(world: WebhookWorld) -> None:
    """As soon as it takes anything again it is told of all that waits, the same under the same number."""
    endpoint = await world.endpoint(URL)
    world.receivers.answers[URL] = AWAY
    await world.record("a", "b", "c")
    await world.send_until(3_600, 30)
    assert len(world.receivers.calls) < 60, "it is left alone between attempts"
    assert (await world.endpoints.get(OPERATORS, endpoint.id)).failing_since is not None
    world.receivers.answers[URL] = 200
    await world.record("d")
    world.receivers.calls.clear()
    await world.send_until(300, 30)
    assert sorted(world.receivers.of(URL)) == [1, 2, 3, 4]
    assert {each.status for each in (await world.standing(endpoint)).values()} == {"succeeded"}
    assert (await world.endpoints.get(OPERATORS, endpoint.id)).failing_since is None


async def test_after_three_days_a_delivery_has_failed_and_its_endpoint_is_disabled(
    world: WebhookWorld,
) -> None:
    """What waited has failed with it, and so has what happens later: recovered, it goes out once enabled."""
    endpoint = await world.endpoint(URL)
    world.receivers.answers[URL] = 500
    await world.record("a")
    await world.send_until(2 * DAY, 1_800)
    await world.record("b")
    await world.send_until(DAY - 3_600, 1_800)
    first = (await world.standing(endpoint))[1]
    assert (first.status, 10 <= first.attempts <= 14) == ("pending", True)
    await world.send_until(7_200, 1_800)
    await world.log.fail_disabled()
    standing = await world.standing(endpoint)
    assert {each.status for each in standing.values()} == {"failed"}
    assert (await world.endpoints.get(OPERATORS, endpoint.id)).disabled_reason == DISABLED_FAILING
    await world.record("c")
    world.receivers.calls.clear()
    await world.send_until(DAY, 3_600)
    assert world.receivers.calls == []
    world.receivers.answers[URL] = 200
    await world.endpoints.change(OPERATORS, endpoint.id, {"disabled_reason": None})
    assert await world.log.recover(endpoint.id, 0) == 3
    await world.send()
    assert sorted(world.receivers.of(URL)) == [1, 2, 3]


async def test_one_event_that_is_refused_disables_nothing(world: WebhookWorld) -> None:
    """The endpoint takes others meanwhile: the one has failed after three days, and that is all."""
    endpoint = await world.endpoint(URL)
    world.receivers.refused = {1}
    await world.record("poison")
    for number in range(1, 14):
        await world.send_until(DAY / 4, DAY / 8)
        await world.record(f"e{number}")
        await world.send()
    found = await world.endpoints.get(OPERATORS, endpoint.id)
    standing = await world.standing(endpoint)
    assert found.disabled_reason is None
    assert [n for n, each in standing.items() if each.status == "failed"] == [1]


async def test_gone_disables_at_once(world: WebhookWorld) -> None:
    """410: the receiver wants nothing more; what waits is not attempted."""
    endpoint = await world.endpoint(URL)
    world.receivers.answers[URL] = 500
    await world.record("a", "b", "c", "d")
    await world.send()
    world.receivers.answers[URL] = 410
    world.receivers.calls.clear()
    await world.send_until(600, 60)
    assert len(world.receivers.calls) <= 2
    await world.log.fail_disabled()
    assert (await world.endpoints.get(OPERATORS, endpoint.id)).disabled_reason == DISABLED_GONE
    assert {each.status for each in (await world.standing(endpoint)).values()} == {"failed"}


async def test_a_receiver_that_asks_for_a_pause_gets_one_within_bounds(world: WebhookWorld) -> None:
    """As long as it asks for, an hour at most."""
    await world.endpoint(URL)
    world.receivers.answers[URL] = 503
    for asked, pause in ((600.0, 600), (10 * DAY, 3_600)):
        world.receivers.retry_after[URL] = asked
        await world.record(f"{asked}")
        await world.send()
        calls = len(world.receivers.calls)
        world.clock.pass_by(pause - 1)
        await world.record(f"{asked} once more")
        assert await world.send() == 0
        world.clock.pass_by(2)
        assert await world.send() > 0
        assert len(world.receivers.calls) > calls
        world.receivers.retry_after[URL] = 0
        world.clock.pass_by(7_200)
        await world.send()
        world.clock.pass_by(7_200)


async def test_who_dies_between_sending_and_marking_sends_once_more(world: WebhookWorld) -> None:
    """After the lease, by any replica, under the same number: never twice meanwhile, and never a gap."""
    endpoint = await world.endpoint(URL)
    await world.record("a", "b")
    died = await world.deliveries.claim({endpoint.id: 1})
    await world.receivers.post(died[0])
    await world.send()
    assert world.receivers.of(URL) == [1, 2]
    world.clock.pass_by(LEASE_SECONDS)
    await world.send()
    assert world.receivers.of(URL) == [1, 2, 1]
    assert {each.status for each in (await world.standing(endpoint)).values()} == {"succeeded"}


async def test_one_that_was_taken_stays_so_although_another_attempt_failed(world: WebhookWorld) -> None:
    """Of two that had its lease one after the other, the failed one may be noted last."""
    endpoint = await world.endpoint(URL)
    await world.record("a")
    (claimed,) = await world.deliveries.claim({endpoint.id: 1})
    for status in (200, 500):
        await world.outcomes.settle(claimed, DeliveryAttempt(at=world.clock(), milliseconds=1, status=status))
    delivery = (await world.standing(endpoint))[1]
    assert (delivery.status, [each.status for each in delivery.latest]) == ("succeeded", [200, 500])


async def test_receivers_that_hang_keep_no_other_waiting(world: WebhookWorld) -> None:
    """Many of them hold the places of those that failed, which are a quarter; others go on meanwhile."""

    async def all_settled(endpoint_id: str) -> bool:
        return not await world.log.page(endpoint_id, "pending", None, 1)

    hanging = [f"{DEAD}/{number}" for number in range(12)]
    for url in hanging:
        await world.endpoint(url)
        world.receivers.answers[url] = AWAY
    healthy = await world.endpoint(URL)
    await world.record("first")
    await world.send()
    for url in hanging:
        world.receivers.held[url] = asyncio.Event()
    world.clock.pass_by(600)
    async with asyncio.TaskGroup() as attempts:
        for number in range(10):
            await world.record(f"e{number}")
            for _ in range(3):
                await world.sender.begin(attempts)
                await asyncio.sleep(0)
            await wait_until(lambda: all_settled(healthy.id))
        at_once = sum(url in world.receivers.held for url, _ in world.receivers.calls[13:])
        for event in world.receivers.held.values():
            event.set()
    assert world.receivers.of(URL) == list(range(1, 12))
    assert at_once == 2, "a quarter of eight places"


async def test_one_receiver_has_a_few_attempts_at_a_time(world: WebhookWorld) -> None:
    """However much there is for it."""
    await world.endpoint(URL)
    world.receivers.held[URL] = asyncio.Event()
    await world.record(*(f"e{number}" for number in range(9)))
    async with asyncio.TaskGroup() as attempts:
        for _ in range(4):
            await world.sender.begin(attempts)
            await asyncio.sleep(0)
        assert len(world.receivers.calls) == 2
        world.receivers.held.pop(URL).set()
    await world.send()
    assert world.receivers.most_at_once[URL] == 2
    assert world.receivers.of(URL) == list(range(1, 10))


async def test_one_owner_has_half_of_the_places_however_many_endpoints(world: WebhookWorld) -> None:
    """Another's receiver is told meanwhile, and those of the first in the end."""
    many = [f"{URL}/{number}" for number in range(12)]
    for url in many:
        await world.endpoint(url)
        world.receivers.held[url] = asyncio.Event()
    other = await world.endpoint(URL, owner_of("alice"))
    await world.record("a", "b", customer="alice")
    async with asyncio.TaskGroup() as attempts:
        for _ in range(4):
            await world.sender.begin(attempts)
            await asyncio.sleep(0)
        assert sum(url != URL for url, _ in world.receivers.calls) == 4, "half of eight places"
        assert sorted(world.receivers.of(URL)) == [1, 2]
        for event in world.receivers.held.values():
            event.set()
    await world.send()
    assert all(sorted(world.receivers.of(url)) == [1, 2] for url in many)
    assert {each.status for each in (await world.standing(other)).values()} == {"succeeded"}


async def test_a_drain_ends_what_was_begun_and_begins_nothing(world: WebhookWorld) -> None:
    """The loop itself: it is woken by what is promised, and stops once its attempts are noted."""
    endpoint = await world.endpoint(URL)
    world.receivers.held[URL] = asyncio.Event()
    stop = asyncio.Event()
    running = asyncio.ensure_future(world.sender.run(stop))
    await world.record("a")
    world.sender.wake()
    await wait_until(lambda: bool(world.receivers.calls))
    stop.set()
    await world.record("b")
    world.receivers.held.pop(URL).set()
    await running
    assert {n: each.status for n, each in (await world.standing(endpoint)).items()} == {
        1: "succeeded",
        2: "pending",
    }


async def test_of_a_delivery_that_is_sent_again_and_again_the_latest_attempts_are_kept(
    world: WebhookWorld,
) -> None:
    """Its owner may ask without end; all of them are counted."""
    endpoint = await world.endpoint(URL)
    await world.record("a")
    for _ in range(LATEST_SHOWN + 3):
        await world.send()
        await world.log.resend(endpoint.id, 1)
    delivery = (await world.standing(endpoint))[1]
    assert (delivery.attempts, len(delivery.latest)) == (LATEST_SHOWN + 3, LATEST_SHOWN)
    assert len(world.receivers.of(URL)) == LATEST_SHOWN + 3
