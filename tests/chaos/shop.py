"""The shop around the orders of a chaos run: a customer with a token, and products whose prices change."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Any, Final

import aiohttp
from redis.exceptions import RedisError

from shared import keyspace
from shared.currencies import written
from shared.orders.decisions import EVENT_TYPES
from shared.prices import Cost
from tests.harness.brokers import delay
from tests.harness.client import Answer, GatewayClient
from tests.harness.shopping import Customer, Product
from tests.harness.waiting import wait_until

READ_SECONDS: Final = 0.1
REPRICED_SECONDS: Final = 1.0
SIGNED_IN_SECONDS: Final = 10.0
"""Tokens live for much longer."""
HEALED_SECONDS: Final = 60.0
DEAREST: Final = 100_000


class Shop:
    """One customer, and what it buys. Whatever is away, an answer is 200, or 503 that says so."""

    def __init__(self, client: GatewayClient, skus: Sequence[str], random_: random.Random) -> None:
        self.customer = Customer(client, skus[0])
        self.products = {sku: Product(client, sku) for sku in skus}
        self.reads = 0
        self.slowest_read = 0.0
        self.new_prices = 0
        self._random = random_
        self._odd: list[str] = []

    async def open(self) -> None:
        """Makes the account and the products; all is well yet."""
        await self.customer.register()
        for product in self.products.values():
            await product.create(self._random.randint(1, DEAREST))
        await wait_until(self._is_signed_in, what="signing in")

    def headers_for(self, sku: str) -> Mapping[str, str]:
        """What has a price is bought with a token."""
        return self.customer.headers if sku in self.products else {}

    async def run(self, stop: asyncio.Event) -> None:
        """Reads, changes prices and signs in, again and again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._again(self._read, READ_SECONDS, stop))
            group.create_task(self._again(self._reprice, REPRICED_SECONDS, stop))
            group.create_task(self._again(self.customer.sign_in, SIGNED_IN_SECONDS, stop))

    @property
    def amounts(self) -> Container[int]:
        """What anything may have cost at some time."""
        return {amount for product in self.products.values() for amount in product.amounts}

    def story(self, costs: Mapping[str, Cost]) -> str:
        """What happened, as a sentence."""
        priced = sum(cost.amount_total is not None for cost in costs.values())
        return (
            f"Shop: {priced:,} orders at a price that changed {self.new_prices:,} times; products were read "
            f"{self.reads:,} times, at worst in {self.slowest_read:.2f} s."
        )

    async def faults(self, redis: Any) -> dict[str, list[str]]:
        """Once nothing is broken any more: answers that nobody should get, and prices that disagree."""
        found = {"odd answers": self._odd} if self._odd else {}
        for sku, product in self.products.items():

            async def agree(product: Product = product) -> bool:
                return await self._agree(redis, product)

            try:
                await wait_until(agree, timeout_seconds=HEALED_SECONDS, what=f"one price for {sku}")
            except AssertionError as error:
                found.setdefault("prices", []).append(str(error))
        return found

    async def _agree(self, redis: Any, product: Product) -> bool:
        try:
            answer = await product.show()
            charged = await redis.hget(keyspace.product(product.sku), "unit_amount")
        except (aiohttp.ClientError, TimeoutError, RedisError, OSError):
            return False
        shown = answer.body.get("unit_amount")
        return shown in product.settled and charged == str(shown)

    async def _is_signed_in(self) -> bool:
        return (await self.customer.sign_in()).status == 200

    async def _read(self) -> Answer:
        answer = await self._random.choice([*self.products.values()]).show()
        self.reads += 1
        self.slowest_read = max(self.slowest_read, answer.seconds)
        return answer

    async def _reprice(self) -> Answer:
        product = self._random.choice([*self.products.values()])
        answer = await product.reprice(self._random.randint(1, DEAREST))
        self.new_prices += answer.status == 200
        return answer

    async def _again(self, ask: Callable[[], Awaitable[Answer]], pause: float, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                answer = await ask()
            except (aiohttp.ClientError, TimeoutError):
                pass  # the gateway is away
            else:
                if answer.status not in {200, 503}:
                    self._odd.append(f"{answer.status} {answer.body}")
            await delay(pause)


def charged_wrongly(
    costs: Mapping[str, Cost], letters: Mapping[str, str], amounts: Container[int]
) -> dict[str, list[str]]:
    """Orders of one piece whose client was promised a price that never was, or whose letter names another.

    ``letters`` are the totals that they named, by event id.
    """
    found: dict[str, list[str]] = {}
    for order_id, cost in costs.items():
        if cost.amount_total is None or cost.currency is None:
            continue
        if cost.amount_total not in amounts:
            found.setdefault("promised no price of its product", []).append(order_id)
        said = written(cost.amount_total, cost.currency)
        for kind in EVENT_TYPES.values():
            if letters.get(f"{order_id}:{kind}", said) != said:
                found.setdefault("charged another sum", []).append(order_id)
    return found
