"""Accounts, catalogue, PostgreSQL and the cache die, freeze and refuse under load: orders go on without."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from shared import keyspace
from shared.services import CACHE, DATABASE
from tests.harness.absence import Absence, away
from tests.harness.brokers import delay
from tests.harness.client import Answer, GatewayClient, gateway_client
from tests.harness.evidence import store_of, verdict_on, wait_until_settled
from tests.harness.running import Pipeline
from tests.harness.shopping import Customer, Product
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.failover, pytest.mark.timeout(300)]

ANSWER_SECONDS = 2.0
SLACK_SECONDS = 6.0
"""For a machine on which everything else runs too. What was measured is printed."""
BUYERS = 2
READERS = 10
PACE_SECONDS = 0.05
MOST_STOCK = 1_000_000
DATABASE_AWAY = "database-unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is answered while a part is away. ``reads`` is where products come from in the end."""

    reads: str
    signs_in: str = "in"
    reprices: str = "changed"


NO_ACCOUNTS = Expected(reads="bypass", signs_in="accounts")
NO_CATALOGUE = Expected(reads="catalogue", reprices="catalogue")
NO_DATABASE = Expected(reads="stale", signs_in=DATABASE_AWAY, reprices=DATABASE_AWAY)
EXPECTED = {
    ("accounts", CACHE): {  # together, which takes less time: neither knows the other
        Absence.KILLED: NO_ACCOUNTS,
        Absence.FROZEN: NO_ACCOUNTS,
        Absence.REFUSING: replace(NO_ACCOUNTS, signs_in=DATABASE_AWAY),
    },
    ("catalogue",): {
        Absence.KILLED: NO_CATALOGUE,
        Absence.FROZEN: NO_CATALOGUE,
        Absence.REFUSING: replace(NO_DATABASE, signs_in="in"),
    },
    (DATABASE,): {
        Absence.KILLED: NO_DATABASE,
        Absence.FROZEN: NO_DATABASE,
        Absence.REFUSING: replace(NO_DATABASE, reads="hit"),  # it still tells what was written
    },
}


@dataclass(slots=True)
class Load:
    """Buyers with a token who never stop, and what they and everybody else were answered."""

    client: GatewayClient
    customer: Customer
    product: Product
    prefix: str
    taken: list[str] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)

    async def buy(self, buyer: int, stop: asyncio.Event) -> None:
        """One order after the other: each is taken, at a price that the product had."""
        number = 0
        while not stop.is_set():
            number += 1
            order: dict[str, Any] = {
                "id": f"{self.prefix}{buyer}x{number}",
                "sku": self.product.sku,
                "qty": 2,
            }
            answer = self.noted("POST /orders", await self.client.place(order, **self.customer.headers))
            assert answer.status == 202, answer
            assert answer.body["amount_total"] in {2 * amount for amount in self.product.amounts}
            self.taken.append(order["id"])
            await delay(PACE_SECONDS)

    def noted(self, what: str, answer: Answer) -> Answer:
        """The same, once its time has been written down."""
        self.slowest[what] = max(self.slowest.get(what, 0.0), answer.seconds)
        assert answer.seconds < ANSWER_SECONDS + SLACK_SECONDS, (what, answer)
        return answer

    async def reads(self, path: str) -> str:
        """Where a product or a list came from, or the name of what was missing."""
        answer = self.noted("GET", await self.client.request("GET", path))
        assert answer.status in {200, 503}, answer
        return answer.headers["X-Cache"] if answer.status == 200 else name_in(answer)

    async def signs_in(self) -> str:
        """``in``, or the name of what was missing."""
        answer = self.noted("POST /tokens", await self.customer.sign_in())
        assert answer.status in {200, 503}, answer
        return "in" if answer.status == 200 else name_in(answer)

    async def reprices(self) -> str:
        """``changed``, or the name of what was missing."""
        amount = 1 + max(self.product.amounts)
        answer = self.noted("PATCH", await self.product.reprice(amount))
        assert answer.status in {200, 503}, answer
        return "changed" if answer.status == 200 else name_in(answer)

    async def status(self, order_id: str) -> str:
        """Where an order of the customer stands."""
        answer = await self.client.request("GET", f"/orders/{order_id}", headers=self.customer.headers)
        return str(answer.body["status"])

    def times(self) -> str:
        """The slowest answers since the last time, for people."""
        told = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in sorted(self.slowest.items()))
        self.slowest.clear()
        return told


def name_in(answer: Answer) -> str:
    """Who is away, by the word of a problem."""
    assert int(answer.headers["Retry-After"]) >= 1
    return str(answer.body.get("service") or answer.body["type"].rpartition("/")[2])


@asynccontextmanager
async def shopping(pipeline: Pipeline) -> AsyncIterator[Load]:
    """Buyers at work, whose orders are judged after the block."""
    prefix = f"away{time.time_ns()}-"
    async with gateway_client(pipeline.gateway_url) as client:
        load = Load(
            client, Customer(client, f"buyer{time.time_ns()}"), Product(client, f"{prefix}sku"), prefix
        )
        await client.set_stock(load.product.sku, MOST_STOCK)
        await load.product.create(1000)
        await load.customer.register()
        await heals(load, pipeline)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as buyers:
            for buyer in range(BUYERS):
                buyers.create_task(load.buy(buyer, stop))
            try:
                await wait_until(lambda: bool(load.taken), what="the first order")  # by then keys are known
                yield load
            finally:
                stop.set()
        await wait_until_settled(pipeline)
        verdict = await verdict_on(pipeline, client.books, prefix)
        assert (verdict.faults(), verdict.created) == ({}, len(client.books.acknowledged))


async def goes_on_without(load: Load, expected: Expected) -> None:
    """Orders are taken and decided meanwhile, and everything else says what is missing."""
    path, begun = load.product.path, len(load.taken)

    async def signs_in() -> bool:
        return await load.signs_in() == expected.signs_in

    async def reprices() -> bool:
        return await load.reprices() == expected.reprices

    async def reads() -> bool:
        return await load.reads(path) == expected.reads

    async def is_decided() -> bool:
        return len(load.taken) > begun and await load.status(load.taken[begun]) == "created"

    await asyncio.gather(
        load.reads("/products?limit=7"),  # which nobody has asked for yet
        *(load.reads(path) for _ in range(READERS)),
        wait_until(signs_in, what=f"signing in: {expected.signs_in}"),
        wait_until(reprices, what=f"another price: {expected.reprices}"),
        wait_until(is_decided, what="an order is decided"),
    )
    await wait_until(reads, what=f"{path} is read: {expected.reads}")


async def heals(load: Load, pipeline: Pipeline) -> None:
    """Everybody is ready, customers sign in, and a price that changes is what orders and readers see."""

    async def is_signed_in() -> bool:
        return await load.signs_in() == "in"

    async def is_repriced() -> bool:
        return await load.reprices() == "changed"

    async def is_shown() -> bool:
        answer = load.noted("GET", await load.product.show())
        return (answer.headers.get("X-Cache"), answer.body.get("unit_amount")) == ("hit", amount)

    async def is_charged() -> bool:
        return bool(await redis.hget(keyspace.product(load.product.sku), "unit_amount") == f"{amount}")

    async with asyncio.TaskGroup() as group, store_of(pipeline) as redis:
        group.create_task(wait_until(is_signed_in, what="signing in"))
        await wait_until(is_repriced, what="another price")
        (amount,) = load.product.settled
        await wait_until(is_shown, what="the price in the cache")
        await wait_until(is_charged, what="the price of orders")
        await asyncio.to_thread(pipeline.services.wait_ready)


@pytest.mark.parametrize("how", Absence)
async def test_orders_go_on_without_the_rest_of_the_shop(
    pipeline: Pipeline, how: Absence, record_property: Callable[[str, object], None]
) -> None:
    """What needs a part that is away is 503 with its name in time, or stale, and all of it heals."""
    async with shopping(pipeline) as load:
        for parts, expected in EXPECTED.items():
            began = time.monotonic()
            async with AsyncExitStack() as stack:
                for part in parts:
                    await stack.enter_async_context(away(pipeline, part, how))
                await goes_on_without(load, expected[how])
            await heals(load, pipeline)
            took = f"took {time.monotonic() - began:.1f} s"
            record_property(f"{' and '.join(parts)} {how}", f"{load.times()}; {took}")
