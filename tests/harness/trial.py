"""A load on the pipeline with something going wrong in the middle, and the oracle's verdict on it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

from orderctl.oracle import Verdict
from shared.orders.model import OrderStatus
from tests.harness.client import Answer, GatewayClient, gateway_client
from tests.harness.evidence import store_of, verdict_on, wait_until_settled
from tests.harness.pricing import price
from tests.harness.running import Pipeline
from tests.harness.waiting import wait_until

LOOK_SECONDS = 0.02


class Trial:
    """One load: orders for one piece each of a SKU of their own, of which half can be had, at a price."""

    def __init__(self, pipeline: Pipeline, client: GatewayClient, orders: int) -> None:
        self.pipeline = pipeline
        self.client = client
        self.prefix = f"trial{time.time_ns()}-"
        self.sku = f"{self.prefix}sku"
        self.orders = orders
        self._load: asyncio.Task[list[Answer]] | None = None

    async def begin(self, concurrency: int) -> None:
        """Puts the stock in and starts the load."""
        await self.client.set_stock(self.sku, self.orders // 2)
        async with store_of(self.pipeline) as redis:
            await price(redis, self.sku, 1999)
        orders = [{"id": f"{self.prefix}{n}", "sku": self.sku, "qty": 1} for n in range(self.orders)]
        self._load = asyncio.create_task(self.client.place_many(orders, concurrency))

    async def reached(self, share: float) -> None:
        """Waits until this share of the orders has been acknowledged."""
        wanted = int(self.orders * share)
        known = self.client.books.acknowledged
        await wait_until(
            lambda: len(known) >= wanted, timeout_seconds=60, what=lambda: f"{len(known)} of {wanted}"
        )

    async def finish(self, *, settle_seconds: float = 90.0, notifier_deaths: int = 0) -> Verdict:
        """Waits for the last answer and the last notification; fails unless half of it was created."""
        verdict = await self.verdict(settle_seconds=settle_seconds, notifier_deaths=notifier_deaths)
        half = self.orders // 2
        assert (verdict.orders, verdict.created, verdict.rejected) == (self.orders, half, self.orders - half)
        return verdict

    async def verdict(self, *, settle_seconds: float = 90.0, notifier_deaths: int = 0) -> Verdict:
        """The oracle's, after the last answer and the last notification."""
        assert self._load is not None
        await self._load
        await wait_until_settled(self.pipeline, timeout_seconds=settle_seconds)
        return await verdict_on(
            self.pipeline, self.client.books, self.prefix, notifier_deaths=notifier_deaths
        )

    async def cancel_all(self) -> dict[str, bool]:
        """Cancels each order as soon as it is acknowledged; by its id whether its client was told so."""
        answers: dict[str, bool] = {}

        async def cancel(order_id: str) -> None:
            answers[order_id] = await self.client.move_until_known(order_id, OrderStatus.CANCELLED)

        asked: set[str] = set()
        async with asyncio.TaskGroup() as cancelling:
            while len(asked) < self.orders:
                for order_id in self.client.books.acknowledged - asked:
                    asked.add(order_id)
                    cancelling.create_task(cancel(order_id))
                await asyncio.sleep(LOOK_SECONDS)
        return answers

    def longest_gap_seconds(self) -> float:
        """The longest silence between two acknowledgements."""
        return longest_gap(self.client.books.acknowledged_at)

    async def end(self) -> None:
        """Gives the load up where the test has failed."""
        if self._load is not None:
            self._load.cancel()
            await asyncio.gather(self._load, return_exceptions=True)


@asynccontextmanager
async def trial(pipeline: Pipeline, *, orders: int, concurrency: int = 30) -> AsyncIterator[Trial]:
    """A trial whose load is running."""
    async with gateway_client(pipeline.gateway_url) as client:
        running = Trial(pipeline, client, orders)
        await running.begin(concurrency)
        try:
            yield running
        finally:
            await running.end()


def longest_gap(times: Sequence[float]) -> float:
    """The longest silence between two moments, in seconds."""
    return max((later - earlier for earlier, later in pairwise(sorted(times))), default=0.0)
