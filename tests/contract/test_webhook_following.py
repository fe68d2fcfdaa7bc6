"""From steps of orders to promised deliveries: each event once to each endpoint, whatever dies or is lost.

Over the real scripts in a store in this process and SQLite, then on a real Redis and PostgreSQL.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncConnection

from api_gateway.preferences import RedisPreferences
from orderctl.verification import session
from orderctl.verification.following import wait_for_follower
from orderctl.verification.promises import Promises
from orderctl.verification.verification import Patience
from shared import keyspace
from shared.errors import DatabaseUnavailable, StoreUnavailable
from shared.keyspace import Channel
from shared.messages import Order, encode
from shared.orders import following
from shared.orders.following import FollowerFigures
from shared.orders.model import OrderStatus
from shared.orders.moves import move_event
from shared.orders.position import move_position
from shared.orders.redis.erasure import RedisOrderErasure
from shared.orders.redis.log import LogPosition, OrderLog
from shared.redis.client import Redis
from shared.sql.database import Database
from shared.webhooks.schemas import EVENT_NAMES
from tests.harness.decisions import decide_one, record_of, stocked, store_recreating
from tests.harness.examples import an_order, placed
from tests.harness.gateway import a_placement, order_store
from tests.harness.moving import moved
from tests.harness.stores import as_service
from tests.harness.waiting import wait_until
from tests.harness.webhooks import WebhookWorld, told, webhook_world
from webhooks import deliveries, follower
from webhooks.customers import RedisCustomers
from webhooks.figures import WebhookFigures
from webhooks.follower import NAME, WebhookFollower
from webhooks.housekeeping import Housekeeping
from webhooks.model import OPERATORS, SECOND, UNOWNED, WebhookEndpoint, owner_of

pytestmark = pytest.mark.parametrize(
    ("redis", "database_url"),
    [("in-process", "sqlite"), pytest.param("redis", "postgres", marks=pytest.mark.broker)],
    indirect=True,
)

URL = "https://receiver.example/hook"
SECONDS = 30.0
A_CENTURY = 100 * 365 * 86_400.0
DAY_MICROSECONDS = 86_400 * SECOND


@dataclass(slots=True)
class Trial:
    """Orders happen, and are followed once it is asked for."""

    redis: Any
    world: WebhookWorld
    registry: CollectorRegistry
    figures: FollowerFigures
    passed_seconds: float = 0.0

    def follower(self) -> WebhookFollower:
        """One that has just been started."""
        return WebhookFollower(
            self.world.deliveries,
            RedisCustomers(as_service(self.redis, NAME), timeout_seconds=SECONDS),
            as_service(self.redis, NAME),
            self.world.clock,
            self.figures,
            self.world.sender.wake,
            timeout_seconds=SECONDS,
            elapsed=lambda: self.passed_seconds,
        )

    async def follow(self) -> None:
        """Another replica takes the lease over, and follows."""
        await self.redis.delete(keyspace.service_lease(NAME))
        await self.follower().follow()

    async def accept(self, *orders: Order, customer: str | None = None) -> None:
        """The gateway takes these."""
        gateway = order_store(self.redis, outbox_limit=10_000)
        for order in orders:
            await gateway.accept(a_placement(order, customer=customer))

    async def decided(self, *names: str, customer: str | None = None) -> None:
        """Orders of these names are accepted and created."""
        orders = [an_order(name, "ann@example.com", cable=1) for name in names]
        await self.accept(*orders, customer=customer)
        for order in orders:
            await decide_one(store_recreating(self.redis, A_CENTURY), placed(order))

    async def promised(self, endpoint: WebhookEndpoint) -> list[str]:
        """Orders of which it is told, by its numbers, which have no gap."""
        standing = await self.world.standing(endpoint)
        assert list(standing) == list(range(1, len(standing) + 1))
        return [each.order_id for each in standing.values()]

    async def end(self) -> LogPosition:
        """Where the log ends."""
        return await OrderLog(self.redis, timeout_seconds=SECONDS).end()

    async def aged(self, order_id: str, days: float) -> None:
        """All of it happened so long ago."""
        lines = [line.split("\t", 1) for line in await timeline_of(self.redis, order_id)]
        earlier = [f"{int(at) - round(days * DAY_MICROSECONDS)}\t{rest}" for at, rest in lines]
        await self.redis.hset(keyspace.order(order_id), "timeline", "\n".join(earlier))

    async def set_position(self, until: LogPosition) -> None:
        """The database has this one."""
        since = await self.world.deliveries.position()

        async def write(connection: AsyncConnection) -> None:
            assert await move_position(connection, since, until)

        await self.world.database.transaction(write)

    def heals(self, cause: str) -> float:
        """How often the records were read because of that."""
        return self.registry.get_sample_value("webhooks_heals_total", {"cause": cause}) or 0.0


async def timeline_of(redis: Any, order_id: str) -> list[str]:
    """Its lines."""
    return str(await redis.hget(keyspace.order(order_id), "timeline")).split("\n")


async def dies(*_: object) -> Any:
    """In the place of what asks the store."""
    raise StoreUnavailable("gone")


@pytest.fixture
async def trial(redis: Redis, database_url: str) -> AsyncIterator[Trial]:
    """With stock, at this time."""
    registry = CollectorRegistry()
    async with webhook_world(database_url) as world:
        world.clock.now = time.time_ns() // 1_000
        await stocked(redis, cable=100)
        yield Trial(redis, world, registry, FollowerFigures(NAME, registry))


async def test_each_step_is_told_as_its_event_to_those_that_may_know_of_it(trial: Trial) -> None:
    """Of every kind, with the id and body that brokers have, without the address, which is not even kept."""
    await trial.follow()
    every, hers, others = [
        await trial.world.endpoint(URL, owner, EVENT_NAMES)
        for owner in (OPERATORS, owner_of("alice"), owner_of("bob"))
    ]
    await trial.decided("a", customer="alice")
    for to in (OrderStatus.PROCESSING, OrderStatus.SHIPPED, OrderStatus.DELIVERED):
        await moved(trial.redis, "a", to)
    await trial.decided("b")
    await moved(trial.redis, "b", OrderStatus.CANCELLED)
    await trial.accept(an_order("c", cable=1_000), an_order("undecided"))
    await decide_one(store_recreating(trial.redis, A_CENTURY), placed(an_order("c", cable=1_000)))
    await trial.follow()
    assert await trial.promised(hers) == ["a"] * 4
    assert await trial.promised(others) == []
    claimed = await trial.world.deliveries.claim({every.id: 20})
    bodies = [json.loads(each.body) for each in sorted(claimed, key=lambda each: each.sequence)]
    assert {each["type"] for each in bodies} == set(EVENT_NAMES)
    assert [each["id"] for each in bodies] == [
        *(f"a:order.{kind}.v1" for kind in ("created", "processing", "shipped", "delivered")),
        *("b:order.created.v1", "b:order.cancelled.v1", "c:order.rejected.v1"),
    ]
    assert {each["data"]["order"]["email"] for each in bodies} == {None}
    assert bodies[-1]["data"]["reason"] == "insufficient_stock"
    published = move_event(await record_of(trial.redis, "a"), OrderStatus.SHIPPED)
    assert published is not None
    sent = json.loads(encode(published))
    sent["data"]["order"]["email"] = None
    assert bodies[2] == sent


async def test_a_death_anywhere_makes_nothing_twice_and_loses_nothing(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the transaction, after it, and before the confirm; the position is where the promises are."""
    await trial.follow()
    endpoint = await trial.world.endpoint(URL)
    before = await trial.world.deliveries.position()
    await trial.decided("a", "b")

    def fails(*_: object) -> Any:
        raise DatabaseUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "_delivery", fails)
        with pytest.raises(DatabaseUnavailable):
            await trial.follow()
    assert (await trial.world.deliveries.position(), await trial.promised(endpoint)) == (before, [])
    transaction = Database.transaction

    async def unanswered(database: Database, work: Any, **named: Any) -> Any:
        result = await transaction(database, work, **named)
        return fails() if "record" in work.__qualname__ else result

    with monkeypatch.context() as patch:
        patch.setattr(Database, "transaction", unanswered)
        with pytest.raises(DatabaseUnavailable):
            await trial.follow()
    assert await trial.promised(endpoint) == ["a", "b"]

    await trial.decided("c")
    with monkeypatch.context() as patch:
        patch.setattr(OrderLog, "confirm", dies)
        with pytest.raises(StoreUnavailable):
            await trial.follow()
    await trial.follow()
    assert await trial.promised(endpoint) == ["a", "b", "c"]
    assert await trial.world.deliveries.position() == await trial.end()
    assert await trial.redis.get(keyspace.WEBHOOKS_POSITION) == (await trial.end()).log_id


async def test_a_replica_that_was_overtaken_promises_nothing(trial: Trial) -> None:
    """What it has read is promised already, and numbers stay without a gap."""
    await trial.follow()
    endpoint = await trial.world.endpoint(URL)
    await trial.decided("a")
    since = await trial.world.deliveries.position()
    await trial.follow()
    late = await trial.world.deliveries.record([told("late:order.created.v1")], since, await trial.end())
    assert late is None
    assert await trial.promised(endpoint) == ["a"]


async def test_one_that_ends_lets_another_go_on_at_once(trial: Trial) -> None:
    """As where a replica takes the place of another; one that was killed is waited for."""
    endpoint = await trial.world.endpoint(URL)
    ending = asyncio.create_task(trial.follower().run())

    async def confirmed() -> bool:
        return bool(await trial.redis.exists(keyspace.WEBHOOKS_POSITION))

    await wait_until(confirmed, what="it to follow")
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)
    await trial.decided("a")

    async def promised() -> bool:
        await trial.follower().follow()
        return await trial.promised(endpoint) == ["a"]

    await wait_until(promised, timeout_seconds=10, what="another to follow, sooner than by the lease")


async def test_without_an_endpoint_no_record_is_read_and_the_position_moves_now_and_then(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it has rested; what is kept for it in Redis goes on."""

    async def read(*_: object) -> Any:
        raise AssertionError("a record was read")

    monkeypatch.setattr(following, "fetch_records", read)
    await trial.redis.delete(keyspace.service_lease(NAME))
    follower = trial.follower()
    await trial.decided("a")
    await follower.follow()
    first = await trial.end()
    assert await trial.world.deliveries.position() == first
    await trial.decided("b")
    await follower.follow()
    assert await trial.world.deliveries.position() == first
    trial.passed_seconds += 2.0
    await follower.follow()
    assert await trial.world.deliveries.position() == await trial.end()
    assert await trial.redis.get(keyspace.WEBHOOKS_POSITION) == (await trial.end()).log_id


async def test_an_endpoint_is_told_of_all_that_happens_after_it_was_made(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is made, and an order decided, while a reader finds none and moves on."""
    await trial.decided("before")
    await trial.follow()
    made: list[WebhookEndpoint] = []
    looked = trial.world.deliveries.has_endpoints

    async def just_before() -> bool:
        found = await looked()
        made.append(await trial.world.endpoint(URL))
        await trial.decided("a")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(trial.world.deliveries, "has_endpoints", just_before)
        await trial.follow()
    await trial.decided("b")
    await trial.follow()
    assert await trial.promised(made[0]) == ["a", "b"]


@pytest.mark.parametrize("lost", ["trimmed", "restored", "interrupted"])
async def test_where_its_place_in_the_log_is_lost_the_records_tell_what_was_missed(
    trial: Trial, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the time of the last known place on, of every order, and what is promised already not again."""
    endpoint = await trial.world.endpoint(URL)
    await trial.world.endpoints.change(OPERATORS, endpoint.id, {"created_at": 0})
    await trial.follow()
    await trial.decided("old", "seen")
    await trial.aged("old", 3)
    await trial.world.deliveries.record([told("seen:order.created.v1")])
    await trial.decided("a", "b")
    await trial.set_position(LogPosition(log_id=f"{time.time_ns() // 1_000_000 - 86_400_000}-0"))
    if lost == "restored":
        await trial.redis.delete(keyspace.LOG)
    elif lost == "trimmed":
        await trial.redis.xtrim(keyspace.LOG, maxlen=1, approximate=False)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(following, "fetch_records", dies)
            with pytest.raises(StoreUnavailable):
                await trial.follow()
    await trial.follow()
    assert (trial.heals("lost"), trial.heals("interrupted")) == (1, lost == "interrupted")
    await trial.decided("c")
    await trial.follow()
    assert await trial.promised(endpoint) == ["seen", "a", "b", "c"]
    assert await trial.world.deliveries.position() == await trial.end()


async def test_what_the_queue_of_an_older_version_still_had_is_told_once(trial: Trial) -> None:
    """Its database has no position; what it promised is known, and the log may not reach back so far."""
    endpoint = await trial.world.endpoint(URL)
    await trial.world.endpoints.change(OPERATORS, endpoint.id, {"created_at": 0})
    await trial.decided("promised", "queued", "days", "ancient")
    for order_id, days in (("promised", 3), ("queued", 0.2), ("days", 5), ("ancient", 8)):
        await trial.aged(order_id, days)
    await trial.world.deliveries.record([told("promised:order.created.v1")])
    await trial.redis.delete(keyspace.LOG)
    await trial.decided("new")
    await trial.follow()
    await trial.follow()
    assert sorted(await trial.promised(endpoint)) == ["days", "new", "promised", "queued"]
    assert trial.heals("first") == 1


async def test_what_was_long_before_it_was_made_is_no_endpoint_told(trial: Trial) -> None:
    """Where records are read; clocks of the stores may differ by an hour."""
    endpoint = await trial.world.endpoint(URL)
    await trial.decided("yesterday", "now")
    await trial.aged("yesterday", 1)
    await trial.follow()
    assert await trial.promised(endpoint) == ["now"]


async def test_an_order_whose_record_is_gone_is_counted_and_stops_none(trial: Trial) -> None:
    """Of what was removed in want of memory there is nothing to tell."""
    await trial.follow()
    endpoint = await trial.world.endpoint(URL)
    await trial.decided("a", "b")
    await trial.redis.delete(keyspace.order("a"))
    await trial.follow()
    assert await trial.promised(endpoint) == ["b"]
    assert trial.registry.get_sample_value("webhooks_orders_without_record_total") == 1


async def test_it_says_how_far_behind_it_is(trial: Trial) -> None:
    """In entries and in seconds; the store tells the dashboard too."""
    await trial.follow()
    await trial.decided("a")
    await trial.follower().measure_once()
    assert trial.registry.get_sample_value("webhooks_entries_behind") == 2
    kept = await OrderLog(trial.redis, timeout_seconds=SECONDS).kept()
    assert kept.behind_seconds.keys() == {"ledger", "webhooks"}
    await trial.follow()
    await trial.follower().measure_once()
    assert trial.registry.get_sample_value("webhooks_entries_behind") == 0
    kept = await OrderLog(trial.redis, timeout_seconds=SECONDS).kept()
    assert kept.behind_seconds.keys() == {"ledger"}


async def test_verify_waits_for_it_and_says_where_it_does_not_go_on(trial: Trial) -> None:
    """As it does for the ledger."""
    log, patience = OrderLog(trial.redis, timeout_seconds=SECONDS), Patience(quiet=0.0, pause=0.01)
    position = trial.world.deliveries.position
    await trial.decided("a")
    with pytest.raises(TimeoutError, match="it is yet to read the log, and does not go on"):
        await wait_for_follower(log, position, patience)
    await trial.follow()
    await wait_for_follower(log, position, patience)
    await trial.decided("b")
    with pytest.raises(TimeoutError, match="it has read the log up to "):
        await wait_for_follower(log, position, patience)


async def test_what_verify_took_has_the_wait_for_it(
    trial: Trial, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a service that is away is nearly all of it."""
    monkeypatch.setattr(session, "open_redis", lambda *_, **__: contextlib.nullcontext(trial.redis))
    patience = Patience(quiet=0.2, pause=0.01)
    outcome = await session.verify("", Promises(), webhooks_url=database_url, patience=patience)
    assert outcome.verdict.why["webhooks"] == "it is yet to read the log, and does not go on"
    assert outcome.seconds >= patience.quiet


async def test_webhooks_of_who_declined_them_are_promised_nothing(trial: Trial) -> None:
    """Operators are told all the same, and the customer again once that is wanted; guests decline nothing."""
    owners = (owner_of("ann"), UNOWNED, OPERATORS)
    endpoints = {owner: await trial.world.endpoint(URL, owner) for owner in owners}
    preferences = RedisPreferences(as_service(trial.redis, "api_gateway"), timeout_seconds=SECONDS)
    for number, declined in enumerate([[Channel.MAIL], [Channel.WEBHOOK], []]):
        await preferences.decline("ann", declined)
        await trial.decided(f"order{number}", customer="ann")
        await trial.decided(f"guest{number}")
        await trial.follow()
    told = {owner: await trial.promised(endpoint) for owner, endpoint in endpoints.items()}
    assert told[owner_of("ann")] == ["order0", "order2"]
    assert told[UNOWNED] == ["guest0", "guest1", "guest2"]
    assert sorted(told[OPERATORS]) == sorted(f"{kind}{n}" for kind in ("order", "guest") for n in range(3))


async def test_a_customer_who_is_gone_leaves_no_webhook(trial: Trial) -> None:
    """What accounts erases of a customer, it tells; others keep theirs."""
    world = trial.world
    for owner in (owner_of("alice"), owner_of("bob"), OPERATORS):
        await world.endpoint(URL, owner)
    erasure = RedisOrderErasure(
        as_service(trial.redis, "accounts"), timeout_seconds=SECONDS, retention_seconds=60
    )
    await erasure.erase("alice")
    gone = RedisCustomers(as_service(trial.redis, NAME), timeout_seconds=SECONDS)
    figures = WebhookFigures(CollectorRegistry())
    await Housekeeping(world.endpoints, world.log, gone, world.clock, figures).follow_once()
    left = [len(await world.endpoints.of_owner(each)) for each in (owner_of("alice"), owner_of("bob"))]
    assert (left, len(await world.endpoints.of_owner(OPERATORS))) == ([0, 1], 1)
    assert await gone.gone() == set()


async def test_a_page_of_records_that_takes_long_keeps_the_lease(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another replica would begin anew in the middle, and this one after it, in turns."""
    await trial.world.endpoint(URL)
    await trial.decided("a", "b", "c")
    monkeypatch.setattr(follower, "ENTRIES_AT_ONCE", 1)
    record, leased = trial.world.deliveries.record, list[int]()

    async def slow(*told_since_until: Any) -> int | None:
        if told_since_until[0]:
            leased.append(await trial.redis.exists(keyspace.service_lease(NAME)))
        await trial.redis.delete(keyspace.service_lease(NAME))  # its time passes
        return await record(*told_since_until)

    monkeypatch.setattr(trial.world.deliveries, "record", slow)
    await trial.set_position(LogPosition(log_id=following.REBUILD))
    await trial.follow()
    assert leased == [1, 1, 1]


@pytest.mark.parametrize("odd", [{"at": str(10**20)}, {"at": "-" + "9" * 20}, {"n": str(10**20)}, {"n": "0"}])
async def test_an_entry_of_no_possible_time_or_number_stops_none(trial: Trial, odd: dict[str, str]) -> None:
    """It is logged and passed over, as others that make no sense."""
    endpoint = await trial.world.endpoint(URL)
    await trial.follow()
    await trial.decided("a")
    odd_one = await trial.redis.xadd(
        keyspace.LOG, {"o": "a", "n": "2", "t": "created", "at": "1", "by": ""} | odd
    )
    await trial.decided("b")
    page = await OrderLog(trial.redis, timeout_seconds=SECONDS).read(LogPosition(log_id="0-0"), 100)
    assert page is not None
    assert odd_one not in [each.id for each in page.entries]
    await trial.follow()
    assert await trial.promised(endpoint) == ["a", "b"]


async def test_a_position_that_no_log_can_have_has_the_records_read(trial: Trial) -> None:
    """Redis refuses such an id, each time anew."""
    endpoint = await trial.world.endpoint(URL)
    await trial.follow()
    await trial.decided("a")
    await trial.set_position(LogPosition(log_id=f"{10**22}-0"))
    await trial.follow()
    assert await trial.promised(endpoint) == ["a"]
