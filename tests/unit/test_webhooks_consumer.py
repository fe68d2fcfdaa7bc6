"""From events to promised deliveries: nothing is lost on the way, or promised twice."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from shared import keyspace
from shared.errors import DatabaseUnavailable
from shared.messaging.certification import Certified, Promise
from shared.messaging.handlers import Incoming
from shared.messaging.retry import History
from shared.orders.redis.erasure import RedisOrderErasure
from tests.harness.examples import an_order, created, rejected
from tests.harness.stores import store_in_process
from tests.harness.webhooks import WebhookWorld, webhook_world
from webhooks.figures import WebhookFigures
from webhooks.handlers import TOLD, WebhookHandler
from webhooks.housekeeping import Housekeeping
from webhooks.model import OPERATORS, owner_of
from webhooks.owners import RedisOwners

URL = "https://receiver.example/hook"
SECONDS = 30.0
EVENTS = [created(an_order(f"order{number}", "ann@example.com", cable=number)) for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a database with the tables is made, by the test that needs it first."""
    return tmp_path_factory.mktemp("empty") / "webhooks.db"


@asynccontextmanager
async def consuming(folder: Path, empty: Path) -> AsyncIterator[tuple[WebhookWorld, WebhookHandler, Any]]:
    """The handler over a database of its own, in which Alice and the operators want to be told."""
    path = Path(mkdtemp(dir=folder)) / "webhooks.db"
    if not await asyncio.to_thread(empty.exists):
        async with webhook_world(f"sqlite:///{empty}"):
            pass
    shutil.copy(empty, path)
    async with store_in_process() as redis, webhook_world(f"sqlite:///{path}") as world:
        await redis.hset(keyspace.order("order2"), mapping={"status": "created", "customer": "alice"})
        owners = RedisOwners(redis, timeout_seconds=SECONDS)
        yield world, WebhookHandler(owners, world.deliveries, world.sender.wake), redis


async def test_the_consumer_is_certified(promise: Promise, tmp_path: Path, empty: Path) -> None:
    """Whatever brokers and crashes do: each event is promised once to each endpoint, without a gap."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Certified]:
        async with consuming(tmp_path, empty) as (made, handler, _):
            endpoints = [await made.endpoint(URL), await made.endpoint(URL, owner_of("alice"))]

            async def effects() -> Any:
                standing = [await made.standing(each) for each in endpoints]
                return [(list(each), {one.event_id for one in each.values()}) for each in standing]

            yield Certified(handle=handler, effects=effects)

    await promise(world, EVENTS)


async def test_receivers_get_the_event_as_its_contract_has_it_without_the_address(
    tmp_path: Path, empty: Path
) -> None:
    """The address is no receiver's business, and is not even kept."""
    async with consuming(tmp_path, empty) as (world, handler, _):
        endpoint = await world.endpoint(URL, events=("order.created.v1", "order.rejected.v1"))
        await _told(handler, EVENTS[0], rejected(an_order("order9")))
        bodies = [json.loads(each.body) for each in await world.deliveries.claim({endpoint.id: 9})]
    assert [(each["type"], each["data"]["order"]["email"]) for each in bodies] == [
        ("order.created.v1", None),
        ("order.rejected.v1", None),
    ]
    assert (bodies[0]["id"], bodies[0]["specversion"]) == ("order1:order.created.v1", "1.0")
    assert bodies[1]["data"]["reason"] == "insufficient_stock"


async def test_nothing_is_acked_that_is_not_written(tmp_path: Path, empty: Path) -> None:
    """While the database is away the events stay where they are."""

    class Away:
        async def record(self, told: Any) -> int:
            raise DatabaseUnavailable("away")

    async with consuming(tmp_path, empty) as (world, _, redis):
        handler = WebhookHandler(RedisOwners(redis, timeout_seconds=SECONDS), Away(), world.sender.wake)
        with pytest.raises(DatabaseUnavailable):
            await _told(handler, *EVENTS)


def test_every_event_about_orders_is_taken_but_what_was_not_decided_yet() -> None:
    """A kind more is one that receivers can ask for."""
    assert sorted(each.__name__ for each in TOLD) == [
        *("OrderCancelled", "OrderCreated", "OrderDelivered", "OrderProcessing", "OrderRejected"),
        "OrderShipped",
    ]


async def test_a_customer_who_is_gone_leaves_no_webhook(tmp_path: Path, empty: Path) -> None:
    """What accounts erases of a customer, it tells; others keep theirs."""
    async with consuming(tmp_path, empty) as (world, _, redis):
        await world.endpoint(URL, owner_of("alice"))
        await world.endpoint(URL, owner_of("bob"))
        await world.endpoint(URL)
        erasure = RedisOrderErasure(redis, timeout_seconds=SECONDS, retention_seconds=60)
        await erasure.erase("alice")
        owners = RedisOwners(redis, timeout_seconds=SECONDS)
        keeping = Housekeeping(
            world.endpoints, world.log, owners, world.clock, WebhookFigures(CollectorRegistry())
        )
        await keeping.follow_once()
        left = [len(await world.endpoints.of_owner(each)) for each in (owner_of("alice"), owner_of("bob"))]
        assert (left, len(await world.endpoints.of_owner(OPERATORS))) == ([0, 1], 1)
        assert await owners.gone() == set()


async def _told(handler: WebhookHandler, *events: Any) -> None:

    await handler([Incoming(event=each, history=History()) for each in events])
