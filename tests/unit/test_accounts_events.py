"""What accounts tells of users, and what it erases of those who are gone."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from accounts import store
from accounts.erasing import Erasing
from shared.messaging.shop import shop_message
from shared.sql.outbox import EVENTS
from tests.harness.customers import PASSWORD, Accounts, accounts_at


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[Accounts]:
    """A service without users."""
    async with accounts_at(f"sqlite:///{tmp_path}/accounts.db") as served:
        yield served


class OrdersOfTheDead:
    """Has something left until it is told that it has not."""

    def __init__(self) -> None:
        self.is_done = False
        self.asked: list[str] = []
        self.forgotten: list[str] = []

    async def erase(self, customer: str) -> bool:
        """See the port."""
        self.asked.append(customer)
        return self.is_done

    async def forget(self, customer: str) -> None:
        self.forgotten.append(customer)


async def told(accounts: Accounts) -> list[dict[str, Any]]:
    """The events that wait to be published."""
    rows = await accounts.users.outbox.oldest(EVENTS, 100)
    assert [shop_message(row.body).exchange for row in rows] == ["shop.topic"] * len(rows)
    return [orjson.loads(row.body) for row in rows]


async def test_every_step_of_a_user_is_told_once_and_names_nobody(accounts: Accounts) -> None:
    """In order, with ids that differ, by the id alone."""
    ann = await accounts.register("ann")
    token = (await accounts.sign_in("ann"))["access_token"]
    await accounts.ask("PATCH", "/users/me", {"email": "ann@example.org"}, token)
    await accounts.ask("POST", "/tokens", {"username": "ann", "password": "wrong"})
    await accounts.ask("DELETE", "/users/me", token=token)
    events = await told(accounts)
    assert [event["type"] for event in events] == [
        f"user.{step}.v1" for step in ("created", "login", "updated", "deleted")
    ]
    assert {event["subject"] for event in events} == {ann["id"]}
    assert len({event["id"] for event in events}) == len(events)
    assert all(event["data"] == {"id": ann["id"], "role": "customer"} for event in events)


async def test_what_came_to_nothing_is_not_told(accounts: Accounts) -> None:
    """The write and the event are one transaction."""
    await accounts.register("ann")
    body = {"username": "ann", "email": "other@example.com", "password": PASSWORD}
    assert (await accounts.ask("POST", "/users", body))[0] == 409
    assert len(await told(accounts)) == 1


async def test_a_note_stays_until_nothing_is_left_of_who_is_gone(accounts: Accounts) -> None:
    """Orders may come with its last token meanwhile, so that token has to expire first."""
    ann = await accounts.register("ann")
    token = (await accounts.sign_in("ann"))["access_token"]
    await accounts.ask("DELETE", "/users/me", token=token)
    orders = OrdersOfTheDead()
    erasing = Erasing(accounts.users, orders, token_seconds=900, clock=accounts.clock)
    for seconds, is_done, is_left in [(1, True, 1), (1_000, False, 1), (1, True, 0)]:
        accounts.clock.goes_on(seconds)
        orders.is_done = is_done
        await erasing.round()
        assert len(await accounts.users.to_be_erased("")) == is_left
    await erasing.round()
    assert orders.asked == [ann["id"]] * 3
    assert orders.forgotten == [ann["id"]]


async def test_everybody_who_is_gone_has_a_turn(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The orders of some may take long to come to their end, and keep nobody behind them waiting."""
    monkeypatch.setattr(store, "MOST_ERASED", 2)
    for name in ("ann", "bob", "cid", "dan", "eve"):
        await accounts.register(name)
        token = (await accounts.sign_in(name))["access_token"]
        await accounts.ask("DELETE", "/users/me", token=token)
    orders = OrdersOfTheDead()
    orders.is_done = False
    await Erasing(accounts.users, orders, token_seconds=900, clock=accounts.clock).round()
    assert len(set(orders.asked)) == len(orders.asked) == 5
