"""Every change of stock is told in the end, with the stock of that instant, whatever dies in between."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from api_gateway.stock import RedisStockStore
from catalogue.stock_outbox import StockOutbox
from shared import keyspace
from shared.errors import BrokerUnavailable, StoreUnavailable
from shared.messages import split
from shared.messaging.ports import OutgoingMessage
from shared.redis.client import Redis
from shared.service.carrying import Carrier, publishing
from shared.sql.outbox import EVENTS, OutboxRow
from tests.harness.decisions import A_CENTURY, decide_one, store_recreating
from tests.harness.examples import an_order, placed
from tests.harness.stores import as_service

SECONDS = 5.0


@pytest.fixture
def stock(redis: Redis) -> RedisStockStore:
    """Stock as operators change it."""
    return RedisStockStore(as_service(redis, "api_gateway"), timeout_seconds=SECONDS, most_skus=5_000)


@pytest.fixture
def outbox(redis: Redis) -> StockOutbox:
    """What is to be told, as one replica sees it."""
    return StockOutbox(as_service(redis, "catalogue"), timeout_seconds=SECONDS)


def events_in(rows: Sequence[OutboxRow]) -> dict[str, int | None]:
    """The stock that rows tell, by SKU."""
    told = [orjson.loads(row.body) for row in rows]
    assert {event["type"] for event in told} <= {"product.stock_updated.v1"}
    assert all(event["subject"] == event["data"]["sku"] for event in told)
    return {event["subject"]: event["data"]["stock"] for event in told}


class Listener:
    """Hears what is published, unless ``fate`` says that it dies just before or just after."""

    def __init__(self, fate: random.Random | None = None) -> None:
        self.fate = fate
        self.messages = 0
        self.heard: dict[str, int | None] = {}
        self.bodies: dict[str, bytes] = {}

    async def publish(self, message: OutgoingMessage) -> None:
        """See Publisher."""
        self.dies()
        self.messages += 1
        assert (message.exchange, message.mandatory) == ("shop.topic", False)
        for body in split(message.body):
            event = orjson.loads(body)
            assert self.bodies.setdefault(event["id"], body) == body, "one id, two events"
            self.heard[event["subject"]] = event["data"]["stock"]
        self.dies()

    def dies(self) -> None:
        """One time in four."""
        if self.fate is not None and self.fate.random() < 0.25:
            raise BrokerUnavailable("dead")


async def test_whatever_changes_stock_notes_it(
    redis: Any, stock: RedisStockStore, outbox: StockOutbox
) -> None:
    """Operators and orders; many changes of one SKU are told at once."""
    for sku in ("cable", "case", "gone"):
        await stock.set(sku, 10)
    await stock.adjust("case", -3)
    await stock.remove("gone")
    rows = await outbox.oldest(EVENTS, 10)
    assert events_in(rows) == {"cable": 10, "case": 7, "gone": None}
    await outbox.remove(rows)
    assert await outbox.oldest(EVENTS, 10) == ()
    decisions = store_recreating(redis, A_CENTURY)
    await decide_one(decisions, placed(an_order("a", cable=2, case=1)))
    await decide_one(decisions, placed(an_order("b", cable=2)))
    await decide_one(decisions, placed(an_order("too-much", case=100)))
    rows = await outbox.oldest(EVENTS, 10)
    assert events_in(rows) == {"cable": 6, "case": 6}
    await outbox.remove(rows)
    await decide_one(decisions, placed(an_order("a", cable=2, case=1)))
    await decide_one(decisions, placed(an_order("too-much", case=100)))
    assert await outbox.oldest(EVENTS, 10) == ()


async def test_what_changes_while_it_is_told_is_told_again(
    stock: RedisStockStore, outbox: StockOutbox
) -> None:
    """What was taken stays as it was, for whoever has to tell it once more."""
    await stock.set("cable", 1)
    first = await outbox.oldest(EVENTS, 10)
    await stock.set("cable", 2)
    assert await outbox.oldest(EVENTS, 10) == first
    await outbox.remove(first)
    second = await outbox.oldest(EVENTS, 10)
    assert (events_in(first), events_in(second)) == ({"cable": 1}, {"cable": 2})
    await outbox.remove(first)
    assert await outbox.oldest(EVENTS, 10) == second, "a replica that stalled ends what is not its own"


@pytest.mark.parametrize("value", ["many", "1.5", ""])
async def test_stock_that_is_no_number_is_told_as_unknown(
    redis: Any, stock: RedisStockStore, outbox: StockOutbox, value: str
) -> None:
    """A value that was set by hand, of any type, keeps nobody else from being told."""
    await stock.set("cable", 1)
    await stock.set("case", 2)
    if value:
        await redis.set("inventory:cable", value)
    else:
        await redis.delete("inventory:cable")
        await redis.rpush("inventory:cable", "x")
    assert events_in(await outbox.oldest(EVENTS, 10)) == {"cable": None, "case": 2}


async def test_broken_books_of_changes_stop_a_decision_before_its_first_write(redis: Any) -> None:
    """As every other key that all orders share: an outage, not the order's fault."""
    await redis.set("inventory:cable", 5)
    await redis.set(keyspace.STOCK_CHANGED, "of another type")
    with pytest.raises(StoreUnavailable):
        await decide_one(store_recreating(redis, A_CENTURY), placed(an_order("a", cable=1)))
    assert await redis.get("inventory:cable") == "5"
    assert await redis.exists(keyspace.PROCESSED_COUNT) == 0


async def test_many_are_told_in_a_few_messages(redis: Any, outbox: StockOutbox) -> None:
    """A batch of each hundred SKUs, as long as there are more."""
    skus = [f"sku{number}" for number in range(250)]
    await redis.mset({keyspace.inventory(sku): 7 for sku in skus})
    await redis.sadd(keyspace.STOCK_CHANGED, *skus)
    listener = Listener()
    await Carrier(outbox, EVENTS, publishing(listener, 64)).round()
    assert listener.heard == dict.fromkeys(skus, 7)
    assert listener.messages == 5


@pytest.mark.parametrize("seed", range(5))
async def test_the_last_stock_is_told_whatever_dies(
    redis: Any, stock: RedisStockStore, outbox: StockOutbox, seed: int
) -> None:
    """Publishers that die before and after a publish, between it and the removal; replicas that take over."""
    fate = random.Random(seed)
    listener = Listener(fate)
    changes: Counter[str] = Counter()
    for _ in range(60):
        sku = fate.choice(["cable", "case", "mug"])
        changes[sku] += 1
        await stock.set(sku, fate.randint(0, 3))
        replica = StockOutbox(as_service(redis, "catalogue"), timeout_seconds=SECONDS)
        try:
            await Carrier(replica, EVENTS, publishing(listener, fate.choice([1, 64]))).round()
        except BrokerUnavailable:
            continue
    listener.fate = None
    await Carrier(outbox, EVENTS, publishing(listener, 64)).round()
    await Carrier(outbox, EVENTS, publishing(listener, 64)).round()
    assert listener.heard == {sku: await stock.get(sku) for sku in changes}
    assert await redis.exists(keyspace.STOCK_CHANGED, keyspace.STOCK_TELLING) == 0
