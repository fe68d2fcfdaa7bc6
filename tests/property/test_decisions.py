"""Whatever is redelivered, in whatever order: stock is conserved, and nothing is decided twice."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings, strategies as st

from shared import keyspace
from shared.messages import Event, OrderPlaced
from shared.messaging.retry import Bury, History, Wait
from shared.orders.decisions import Created, Decision, Rejected, Undecidable
from shared.orders.model import OrderStatus
from shared.orders.redis.decisions import RedisDecisionStore
from tests.harness.examples import AT, order_of, placed
from tests.harness.stores import store_in_process

SKUS = ("cable", "case", "plug")
UNKNOWN = "nothing"
A_CENTURY = 100 * 365 * 86_400.0

quantities = st.dictionaries(
    st.sampled_from([*SKUS, UNKNOWN]), st.integers(min_value=1, max_value=6), min_size=1, max_size=3
)
stocks = st.fixed_dictionaries({sku: st.integers(min_value=0, max_value=12) for sku in SKUS})
HISTORY = History(attempts=1, reason="handler_error", first_failed_at=AT, last_failed_at=AT)


@dataclass(frozen=True, slots=True)
class Step:
    """A batch of orders, by number, that is delivered; or a failure of one that is noted."""

    numbers: Sequence[int]
    failure: str = ""


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Event[OrderPlaced]], list[Step]]:
    """Orders and a way in which they may be delivered: batches, repetitions, failures in between."""
    events = [
        placed(order_of(f"o{number}", wanted), at=AT + number)
        for number, wanted in enumerate(draw(st.lists(quantities, min_size=1, max_size=8)))
    ]
    number = st.integers(min_value=0, max_value=len(events) - 1)
    batches = st.builds(Step, st.lists(number, min_size=1, max_size=6))
    failures = st.builds(Step, st.tuples(number), st.sampled_from(["waits", "buried"]))
    return events, draw(st.lists(batches | failures, max_size=12))


class Ledger:
    """What has been decided so far, and whether the store agrees."""

    def __init__(self, redis: Any, stock: dict[str, int]) -> None:
        self._redis = redis
        self._stock = stock
        self._decided: dict[str, tuple[Event[OrderPlaced], Decision]] = {}

    def note(self, event: Event[OrderPlaced], decision: Decision) -> None:
        """The first decision about an order is the only one."""
        assert not isinstance(decision, Undecidable)
        _, first = self._decided.setdefault(event.subject, (event, decision))
        assert decision == first

    async def check(self) -> None:
        """Stock, sums, count and indexes follow from the decisions alone."""
        reserved = dict.fromkeys(SKUS, 0)
        for event, decision in self._decided.values():
            if isinstance(decision, Created):
                for item in event.data.order.items:
                    reserved[item.sku] += item.qty
        kept = await self._redis.hgetall(keyspace.RESERVED)
        for sku in SKUS:
            available = int(await self._redis.get(keyspace.inventory(sku)))
            assert available >= 0
            assert available + reserved[sku] == self._stock[sku]
            assert int(kept.get(sku, 0)) == reserved[sku]
        assert await self._redis.exists(keyspace.inventory(UNKNOWN)) == 0
        assert int(await self._redis.get(keyspace.PROCESSED_COUNT) or 0) == len(self._decided)
        await self._check_indexes()

    async def _check_indexes(self) -> None:
        standing: dict[str, list[OrderStatus]] = {order_id: [] for order_id in self._decided}
        for status in OrderStatus:
            for order_id in await self._redis.zrange(keyspace.orders_in(status), 0, -1):
                standing[order_id].append(status)
        for order_id, (_, decision) in self._decided.items():
            right = OrderStatus.REJECTED if isinstance(decision, Rejected) else OrderStatus.CREATED
            assert standing[order_id] == [right]
            assert await self._redis.hget(keyspace.order(order_id), "status") == right.value


async def live_through(
    stock: dict[str, int], events: Sequence[Event[OrderPlaced]], steps: Sequence[Step]
) -> None:
    """Goes through the steps, then delivers every order once more, and checks after each."""
    async with store_in_process() as redis:
        store = RedisDecisionStore(redis, timeout_seconds=30.0, oldest_recreated_seconds=A_CENTURY)
        for sku, available in stock.items():
            await redis.set(keyspace.inventory(sku), available)
        ledger = Ledger(redis, stock)
        for step in [*steps, Step(range(len(events)))]:
            batch = [events[number] for number in step.numbers]
            if step.failure == "waits":
                await store.waits(batch[0], Wait(tier_seconds=1, expiration_seconds=1.0, history=HISTORY))
            elif step.failure == "buried":
                await store.buried(batch[0], Bury(history=HISTORY))
            else:
                for event, decision in zip(batch, await store.decide(batch), strict=True):
                    ledger.note(event, decision)
            await ledger.check()


@given(stocks, histories())
@settings(max_examples=40)
def test_stock_is_conserved_and_redelivery_changes_nothing(
    stock: dict[str, int], history: tuple[list[Event[OrderPlaced]], list[Step]]
) -> None:
    """After every step: available + reserved is what there was, and each order stands in one index."""
    events, steps = history
    asyncio.run(live_through(stock, events, steps))
