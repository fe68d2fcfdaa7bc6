"""Orders are one list over store and ledger: each once, none missing, while they move between the two.

On SQLite and PostgreSQL, over the ledger's own HTTP API and the real scripts in a store in this process.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import datetime
from typing import Any, Final

import orjson
import pytest

from api_gateway.one_list import LedgerOrders, OneList
from shared import keyspace
from shared.errors import ServiceUnavailable
from shared.history.listing import place_of_cursor
from shared.http.client import AskedService, ServiceAnswer, ServiceClient
from shared.orders.model import OrderStatus, Trouble
from shared.orders.ports import Cursor, OrderFilter, OrderPage, OrderReader
from shared.orders.records import OrderRecord
from shared.sql.database import Database, open_database
from shared.sql.migrations import migrations_of
from tests.harness.examples import an_order
from tests.harness.gateway import a_placement, order_store
from tests.harness.ledger import A_CENTURY, SECONDS, Trial, served_ledger
from tests.harness.stores import store_in_process
from tests.harness.waiting import wait_until

UNOWNED: Final = OrderFilter(unowned=True)
CREATED: Final = OrderFilter(unowned=True, status=OrderStatus.CREATED)
Step = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Nobody moves anything."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A ledger's database, with its tables."""
    async with open_database(database_url, migrations_of("ledger"), timeout_seconds=SECONDS) as opened:
        await opened.look()
        assert opened.unready_reason() is None
        yield opened


class Shop:
    """Orders that come, are decided, get into the ledger and leave the store, one step at a time."""

    def __init__(self, trial: Trial, service: AskedService) -> None:
        self.trial = trial
        self.service = service
        self.accepted: list[str] = []
        self.owned: list[str] = []
        self.has_customers = False
        self.created: list[str] = []
        self.gone: set[str] = set()
        self.between: Step = nothing
        self.gateway = order_store(trial.redis, outbox_limit=10_000)
        self.orders: OrderReader = self.gateway

    def a_list(self) -> OneList:
        """The list, between whose steps something happens."""
        return OneList(_Interrupted(self), LedgerOrders(_InterruptedService(self), patience_seconds=SECONDS))

    async def accept(self) -> None:
        """One more order, whose id says nothing of its time."""
        number = len(self.accepted) + len(self.owned)
        order_id = f"{random.Random(number).randrange(1000):03}-{number}"
        customer = "alice" if self.has_customers and number % 3 else None
        await self.gateway.accept(a_placement(an_order(order_id, cable=1), customer=customer))
        (self.owned if customer else self.accepted).append(order_id)

    async def decide(self, dice: random.Random) -> None:
        """One of those that wait is created."""
        waiting = [each for each in self.accepted if each not in self.created]
        if waiting:
            order_id = dice.choice(waiting)
            await self.trial.decide(an_order(order_id, cable=1))
            self.created.append(order_id)

    async def forget(self, dice: random.Random) -> None:
        """The sweep takes one out of the store, of which the ledger has the last step."""
        kept = [each for each in self.created if each not in self.gone]
        if kept:
            order_id = dice.choice(kept)
            await self.trial.follower.follow()
            await self.trial.redis.delete(keyspace.order(order_id))
            for status in OrderStatus:
                await self.trial.redis.zrem(keyspace.orders_in(status), order_id)
            self.gone.add(order_id)

    async def step(self, dice: random.Random) -> None:
        """Any of these."""
        await dice.choice(
            (
                self.accept,
                lambda: self.decide(dice),
                lambda: self.forget(dice),
                self.trial.follower.follow,
            )
        )()


class _Interrupted:
    """The store's orders; something happens before and after each look."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def get(self, order_id: str) -> OrderRecord | None:
        return await self._shop.orders.get(order_id)

    async def notification(self, order_id: str) -> Mapping[str, str]:
        return await self._shop.orders.notification(order_id)

    async def get_many(self, order_ids: Sequence[str]) -> Sequence[OrderRecord | None]:
        await self._shop.between()
        found = await self._shop.orders.get_many(order_ids)
        await self._shop.between()
        return found

    async def list(self, wanted: OrderFilter, limit: int, after: Cursor | None) -> OrderPage:
        await self._shop.between()
        page = await self._shop.orders.list(wanted, limit, after)
        await self._shop.between()
        return page


class _InterruptedService:
    """The ledger; the same happens."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> ServiceAnswer:
        await self._shop.between()
        answer = await self._shop.service.send(method, path, headers=headers, body=body)
        await self._shop.between()
        return answer


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    """With stock for all."""
    async with store_in_process() as redis, served_ledger(database) as session:
        await redis.set("inventory:cable", 10_000)
        trial = Trial(redis, database)
        await trial.follower.follow()
        service = ServiceClient("ledger", str(session._base_url), session, deadline_seconds=SECONDS)
        yield Shop(trial, service)


async def listed(orders: OneList, wanted: OrderFilter, limit: int) -> list[dict[str, Any]]:
    """All pages. No page is too long, and only the last one is incomplete without a reason."""
    shown: list[dict[str, Any]] = []
    after: Cursor | None = None
    while True:
        answer = await orders.page(wanted, limit, after, headers={}, turn=nullcontext)
        page = orjson.loads(orjson.dumps(answer))
        assert len(page["orders"]) <= limit
        assert "complete" not in page
        shown += page["orders"]
        if page["next_cursor"] is None:
            return shown
        assert len(page["orders"]) == limit
        after = place_of_cursor(page["next_cursor"])


def places(shown: Sequence[Mapping[str, Any]]) -> list[tuple[datetime, str]]:
    """Where each stands."""
    return [(datetime.fromisoformat(each["accepted_at"]), each["id"]) for each in shown]


@pytest.mark.parametrize("seed", range(6))
async def test_each_order_is_shown_once_and_none_is_missing_while_they_move(
    shop: Shop, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newest first, on pages of any length, with a step between any two looks of the list.

    Every other time most orders are customers', so that the store gives short pages of the others.
    """
    dice = random.Random(seed)
    shop.has_customers = bool(seed % 2)
    monkeypatch.setattr("shared.orders.redis.listing.MOST_LOOKED_AT", 3)
    for _ in range(40):
        await shop.accept()
    for _ in range(30):
        await shop.step(dice)

    async def between() -> None:
        for _ in range(dice.randrange(3)):
            await shop.step(dice)

    orders = shop.a_list()
    for wanted in (UNOWNED, CREATED, UNOWNED, CREATED):
        shop.between = nothing
        there = {*(shop.created if wanted is CREATED else shop.accepted)}
        shop.between = between
        shown = await listed(orders, wanted, dice.randrange(2, 9))
        ids = [each["id"] for each in shown]
        assert places(shown) == sorted(places(shown), reverse=True)
        assert len(ids) == len(set(ids))
        assert there - set(ids) == set()
        if wanted is CREATED:
            assert {each["status"] for each in shown} == {OrderStatus.CREATED}
    assert shop.gone


async def test_an_order_that_leaves_the_store_at_any_moment_is_there(shop: Shop) -> None:
    """Between any two looks of the list."""
    for moment in range(6):
        await shop.accept()
        await shop.decide(random.Random(0))
        looks = 0

        async def leaves_then(moment: int = moment) -> None:
            nonlocal looks
            looks += 1
            if looks == moment:
                await shop.forget(random.Random(0))

        shop.between = leaves_then
        shown = await listed(shop.a_list(), CREATED, 20)
        assert [each["id"] for each in shown] == shop.accepted[::-1]
        shop.between = nothing
        if len(shop.gone) <= moment:
            await shop.forget(random.Random(0))


async def test_a_row_that_is_behind_gives_way_to_the_record(shop: Shop) -> None:
    """The ledger has not heard of the decision yet."""
    await shop.accept()
    await shop.trial.follower.follow()
    await shop.decide(random.Random(0))
    (order_id,) = shop.accepted
    for wanted, seen in (
        (UNOWNED, [OrderStatus.CREATED]),
        (OrderFilter(unowned=True, status=OrderStatus.ACCEPTED), []),
        (CREATED, [OrderStatus.CREATED]),
    ):
        shown = await listed(shop.a_list(), wanted, 5)
        assert [each["status"] for each in shown] == seen
    await shop.trial.follower.follow()
    await shop.forget(random.Random(0))
    assert [each["id"] for each in await listed(shop.a_list(), CREATED, 5)] == [order_id]


async def test_an_id_that_is_used_again_is_the_newer_order(shop: Shop) -> None:
    """Wherever the older one stands in a ledger that has not heard of it."""
    for _ in range(3):
        await shop.accept()
    for _ in range(3):
        await shop.decide(random.Random(1))
    first = shop.accepted[0]
    while first not in shop.gone:
        await shop.forget(random.Random(len(shop.gone)))
    await shop.trial.redis.delete(keyspace.claim(first))
    await shop.trial.accept(an_order(first, cable=1))
    for limit in (1, 2, 5):
        ids = [each["id"] for each in await listed(shop.a_list(), UNOWNED, limit)]
        assert ids[0] == first
        assert sorted(ids) == sorted(shop.accepted)


async def test_filters_hold_in_both(shop: Shop) -> None:
    """By time, and by trouble, of which old orders are in none."""
    dice = random.Random(2)
    for _ in range(8):
        await shop.accept()
        await shop.decide(dice)
    for _ in range(4):
        await shop.forget(dice)
    everything = await listed(shop.a_list(), UNOWNED, 3)
    times = [round(at.timestamp() * 1_000_000) for at, _ in places(everything)]
    wanted = OrderFilter(unowned=True, since=times[5], until=times[1])
    assert await listed(shop.a_list(), wanted, 2) == everything[2:6]
    assert await listed(shop.a_list(), OrderFilter(unowned=True, trouble=Trouble.DEAD), 3) == []


async def test_while_the_ledger_is_away_the_list_has_what_the_store_has_and_says_so(shop: Shop) -> None:
    """It is asked once for a page, and no more once it is known to be away."""
    for _ in range(3):
        await shop.accept()
        await shop.decide(random.Random(4))
    await shop.forget(random.Random(4))
    asked = 0

    class Away:
        async def send(self, *_: object, **__: object) -> ServiceAnswer:
            nonlocal asked
            asked += 1
            return ServiceAnswer(status=503, headers={}, body=b"")

    orders = OneList(shop.orders, LedgerOrders(Away()))
    for _ in range(9):
        page = await orders.page(UNOWNED, 5, None, headers={}, turn=nullcontext)
        assert (len(page["orders"]), page["next_cursor"], page["complete"]) == (2, None, False)
        assert page["note"] == "Older orders may be missing. ledger: it answered 503."
    assert asked < 9


async def test_a_ledger_that_is_frozen_is_waited_for_once() -> None:
    """The next lists give up sooner, until it answers again."""
    asked, is_frozen = 0, True

    class Frozen:
        async def send(self, *_: object, **__: object) -> ServiceAnswer:
            nonlocal asked
            asked += 1
            await asyncio.sleep(A_CENTURY if is_frozen else 0)
            return ServiceAnswer(status=200, headers={}, body=b'{"orders":[],"next_cursor":null}')

    ledger, reasons = LedgerOrders(Frozen(), patience_seconds=0.4), []
    for _ in range(9):
        with pytest.raises(ServiceUnavailable) as away:
            await ledger.list(UNOWNED, 5, None, {})
        reasons.append(str(away.value))
    assert reasons[0] == "ledger: it did not answer within 0.4 s"
    assert set(reasons[1:]) == {"ledger: it did not answer within 0.25 s"}
    assert asked < 9
    is_frozen = False
    answered = None

    async def answers() -> bool:
        nonlocal answered
        with suppress(ServiceUnavailable):
            answered = await ledger.list(UNOWNED, 5, None, {})
        return answered is not None

    await wait_until(answers, what="an answer of the ledger")
    assert answered is not None
    assert answered.views == {}


async def test_a_client_who_asks_too_much_at_once_makes_the_ledger_away_for_itself_alone() -> None:
    """What turned it away asks the next one as before."""
    answers = [ServiceAnswer(status=503, headers={}, body=b'{"type":"/problems/too-busy"}')] * 9
    answers.append(ServiceAnswer(status=200, headers={}, body=b'{"orders":[],"next_cursor":null}'))

    class Busy:
        async def send(self, *_: object, **__: object) -> ServiceAnswer:
            return answers.pop(0)

    ledger = LedgerOrders(Busy())
    for _ in range(9):
        with pytest.raises(ServiceUnavailable):
            await ledger.list(UNOWNED, 5, None, {})
    assert (await ledger.list(UNOWNED, 5, None, {})).views == {}


@pytest.mark.parametrize("body", [b"", b"[]", b'{"orders":[{}],"next_cursor":null}', b'{"orders":[]}'])
async def test_what_makes_no_sense_is_no_answer(body: bytes) -> None:
    """Another program may have its port."""

    class Stranger:
        async def send(self, *_: object, **__: object) -> ServiceAnswer:
            return ServiceAnswer(status=200, headers={}, body=body)

    with pytest.raises(ServiceUnavailable):
        await LedgerOrders(Stranger()).list(UNOWNED, 5, None, {})
