"""The whole of accounts in this process: what it does by itself, and goes on doing while others are away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession
from fakeredis import FakeServer

from accounts import erasing
from accounts.main import PROGRAM
from accounts.settings import AccountsSettings
from orderctl.embedded.infrastructure import EmbeddedInfrastructure
from tests.harness.catalogue import ListeningBroker
from tests.harness.customers import PASSWORD
from tests.harness.examples import an_order
from tests.harness.gateway import a_placement
from tests.harness.programs import running_program
from tests.harness.shop import Shop
from tests.harness.stores import free_port
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.usefixtures("quick_erasing")


@pytest.fixture
def quick_erasing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at who is gone again and again."""
    monkeypatch.setattr(erasing, "PAUSE_SECONDS", 0.05)


@asynccontextmanager
async def running(broker: ListeningBroker, store: FakeServer) -> AsyncIterator[ClientSession]:
    """A client of the service, once that is ready."""
    own = AccountsSettings(port=free_port(), ops_port=free_port(), database_timeout_seconds=30)
    async with running_program(PROGRAM, own, EmbeddedInfrastructure(broker, store)) as started:
        yield started.session


async def asked(session: ClientSession, method: str, path: str, **sent: Any) -> Any:
    """What a request that succeeds is answered."""
    async with session.request(method, path, **sent) as answer:
        assert answer.status < 300, await answer.text()
        return await answer.json(content_type=None) if answer.content_length else None


async def test_a_customer_is_told_of_and_in_the_end_erased() -> None:
    """Its address leaves its order too, and events on the shop's exchange name it by its id alone."""
    broker, store = ListeningBroker(), FakeServer()
    infrastructure = EmbeddedInfrastructure(broker, store)
    async with (
        running(broker, store) as session,
        infrastructure.store(timeout_seconds=30, max_connections=4) as redis,
    ):
        shop, order = Shop(redis), an_order("order1", cable=1, email="ann@example.com")
        body = {"username": "ann", "email": "ann@example.com", "password": PASSWORD}
        user = await asked(session, "POST", "/users", json=body)
        tokens = await asked(session, "POST", "/tokens", json={"username": "ann", "password": PASSWORD})
        await shop.orders.accept(a_placement(order, customer=user["id"]))
        await shop.decide(order)
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        await asked(session, "DELETE", "/users/me", headers=bearer)

        async def is_erased() -> bool:
            record = await shop.orders.get("order1")
            return record is not None and record.order.email is None

        await wait_until(is_erased, what="the address has left the order")
        await wait_until(lambda: len(broker.published) >= 3, what="all has been told")
    told = [orjson.loads(message.body) for message in broker.published]
    assert [event["type"] for event in told] == ["user.created.v1", "user.login.v1", "user.deleted.v1"]
    assert {message.exchange for message in broker.published} == {"shop.topic"}
    assert {event["subject"] for event in told} == {user["id"]}
    assert all(b"ann" not in message.body for message in broker.published)


async def test_without_brokers_and_store_customers_sign_in_all_the_same() -> None:
    """What is to be told waits in the database, and is told once a broker is there."""
    broker, store = ListeningBroker(), FakeServer()
    async with running(broker, store) as session:
        broker.go_down("no broker")
        store.connected = False
        body = {"username": "ann", "email": "ann@example.com", "password": PASSWORD}
        await asked(session, "POST", "/users", json=body)
        await asked(session, "POST", "/tokens", json={"username": "ann", "password": PASSWORD})
        assert broker.published == []
        store.connected = True
        broker.come_back()
        await wait_until(lambda: len(broker.published) == 2, what="all has been told")
