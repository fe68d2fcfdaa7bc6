"""Orders are priced once, by the script that accepts them, and keep their prices, on both stores."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from shared import keyspace
from shared.errors import StoreUnavailable
from shared.messages import Event, OrderPlaced, content_fingerprint, decode, encode, request_fingerprint
from shared.orders.decisions import Created, event_of
from shared.orders.placement import (
    Accepted,
    BrokenProduct,
    Duplicate,
    KeyReused,
    OutboxFull,
    PriceChanged,
    Replayed,
    SeveralCurrencies,
    UnknownProducts,
)
from shared.orders.redis.dead_letters import RedisOrderBooks
from shared.orders.redis.scripts import load
from shared.orders.redis.store import RedisOrderStore, acceptance_call
from shared.prices import Cost, LinePrice
from shared.redis.client import Redis
from tests.harness.decisions import A_CENTURY, decide_one, everything, record_of, stocked, store_recreating
from tests.harness.examples import TRACE, an_order, order_of, placed
from tests.harness.gateway import JSON, a_placement, order_store
from tests.harness.pricing import price, prices_of
from tests.harness.stores import as_service

ORDER = an_order("a", cable=2, case=1)
PRICES = prices_of(4298, 1999, 300)


@pytest.fixture
async def store(redis: Redis) -> RedisOrderStore:
    """A store that knows what a cable and a case cost."""
    await price(redis, "cable", 1999)
    await price(redis, "case", 300)
    return order_store(redis)


async def test_an_order_is_priced_when_it_is_accepted(redis: Any, store: RedisOrderStore) -> None:
    """Answer and record have the same prices, and today's are nothing to them from then on."""
    acceptance = await store.accept(a_placement(ORDER))
    await price(redis, "cable", 1)
    assert acceptance.result == Accepted(order_id="a", prices=PRICES)
    record = await store.get("a")
    assert record is not None
    assert (record.order, record.prices) == (ORDER, PRICES)
    assert record.placed.data == OrderPlaced(order=ORDER, prices=PRICES)


async def test_an_order_without_products_is_kept_as_it_ever_was(redis: Any) -> None:
    """Field for field, and under the fingerprint of before there were prices."""
    assert (await order_store(redis).accept(a_placement(an_order("a")))).result == Accepted(order_id="a")
    record = await redis.hgetall("order:a")
    assert record["fingerprint"] == "e9e02059a06897168cd92a8180b1634d"
    assert record["order"] == '{"id":"a","items":[{"sku":"cable","qty":1}],"email":null}'
    known = "id status order fingerprint accepted_at correlation_id traceparent idempotency_key timeline"
    assert set(record) == set(known.split())


async def test_what_the_client_sent_is_kept_apart_from_the_prices(redis: Any, store: RedisOrderStore) -> None:
    """Order and fingerprint of a priced order are those of an unpriced one: an older processor knows it."""
    await store.accept(a_placement(ORDER, currency="EUR", amount_total=4298))
    record = await redis.hgetall("order:a")
    assert record["fingerprint"] == content_fingerprint(ORDER)
    assert record["prices"] == "EUR\t4298\n1999\tCable\n300\tCase"
    assert "unit_amount" not in record["order"]


async def test_a_sku_without_a_product_stays_unpriced(redis: Any, store: RedisOrderStore) -> None:
    """The order is taken, without a total; a deleted product is none."""
    await redis.delete(keyspace.product("case"))
    await redis.hset(keyspace.product("case"), mapping={"version": 7, "deleted": 1})
    acceptance = await store.accept(a_placement(ORDER))
    assert acceptance.result == Accepted(order_id="a", prices=prices_of(None, 1999, None))


async def test_the_total_is_exact_at_its_bounds(redis: Any) -> None:
    """A hundred lines of ten thousand pieces at the highest price."""
    quantities = {f"sku{number}": 10_000 for number in range(100)}
    for sku in quantities:
        await price(redis, sku, 1_000_000_000)
    result = (await order_store(redis).accept(a_placement(order_of("a", quantities)))).result
    assert isinstance(result, Accepted)
    assert result.prices is not None
    assert result.prices.amount_total == 10**15


@pytest.mark.parametrize(("currency", "amount_total"), [("EUR", None), (None, 4298), ("EUR", 4298)], ids=str)
async def test_an_order_at_the_price_that_was_expected_is_accepted(
    store: RedisOrderStore, currency: str | None, amount_total: int | None
) -> None:
    """One of the two may be left out."""
    placement = a_placement(ORDER, currency=currency, amount_total=amount_total)
    assert (await store.accept(placement)).result == Accepted(order_id="a", prices=PRICES)


@pytest.mark.parametrize(
    ("currency", "amount_total"), [("USD", None), (None, 4297), ("EUR", 0), ("USD", 4298)], ids=str
)
async def test_another_price_than_expected_accepts_nothing(
    redis: Any, store: RedisOrderStore, currency: str | None, amount_total: int | None
) -> None:
    """The answer has the right one, and nothing was written."""
    before = await everything(redis)
    placement = a_placement(ORDER, key="key", currency=currency, amount_total=amount_total)
    assert (await store.accept(placement)).result == PriceChanged(order_id="a", prices=PRICES)
    assert await everything(redis) == before
    again = a_placement(ORDER, key="key", currency="EUR", amount_total=4298)
    assert (await store.accept(again)).result == Accepted(order_id="a", prices=PRICES)


async def test_a_total_cannot_be_expected_of_what_has_no_price(redis: Any, store: RedisOrderStore) -> None:
    """Its currency can, as long as one item has one."""
    await redis.delete(keyspace.product("case"))
    result = (await store.accept(a_placement(ORDER, amount_total=3998))).result
    assert result == PriceChanged(order_id="a", prices=prices_of(None, 1999, None))
    unpriced = an_order("b", plug=1)
    result = (await store.accept(a_placement(unpriced, currency="EUR"))).result
    assert result == PriceChanged(order_id="b", prices=None)
    assert isinstance((await store.accept(a_placement(ORDER, currency="EUR"))).result, Accepted)


async def test_several_currencies_in_one_order_are_refused(redis: Any, store: RedisOrderStore) -> None:
    """Nothing was written."""
    await price(redis, "case", 300, "USD")
    before = await everything(redis)
    result = (await store.accept(a_placement(ORDER))).result
    assert result == SeveralCurrencies(order_id="a", currencies=["EUR", "USD"])
    assert await everything(redis) == before


async def test_unknown_products_are_refused_where_that_is_asked_for(
    redis: Any, store: RedisOrderStore
) -> None:
    """The answer names them; an order of known ones goes through."""
    store = order_store(redis, refuses_unknown_products=True)
    result = (await store.accept(a_placement(an_order("b", cable=1, plug=1, socket=1)))).result
    assert result == UnknownProducts(order_id="b", skus=["plug", "socket"])
    result = (await store.accept(a_placement(an_order("b", plug=1)))).result
    assert result == UnknownProducts(order_id="b", skus=["plug"])
    assert isinstance((await store.accept(a_placement(ORDER))).result, Accepted)


@pytest.mark.parametrize(
    "fields",
    [
        {"unit_amount": "19.99"},
        {"unit_amount": "-1"},
        {"unit_amount": "1000000001"},
        {"unit_amount": ""},
        {"currency": "euro"},
        {"currency": ""},
    ],
    ids=str,
)
async def test_a_price_that_cannot_be_read_is_no_price_of_zero(
    redis: Any, store: RedisOrderStore, fields: dict[str, str]
) -> None:
    """Whoever broke it by hand does not sell for nothing: orders for it wait until it is repaired."""
    await redis.hset(keyspace.product("case"), mapping=fields)
    before = await everything(redis)
    result = (await store.accept(a_placement(ORDER))).result
    assert result == BrokenProduct(order_id=ORDER.id, key="product:case")
    assert await everything(redis) == before
    await price(redis, "case", 300)
    assert isinstance((await store.accept(a_placement(ORDER))).result, Accepted)


async def test_half_a_price_is_none_that_can_be_read(redis: Any, store: RedisOrderStore) -> None:
    """An amount without its currency may be anything."""
    await redis.hdel(keyspace.product("case"), "currency")
    result = (await store.accept(a_placement(ORDER))).result
    assert result == BrokenProduct(order_id=ORDER.id, key="product:case")


async def test_a_product_of_another_type_stops_its_own_orders_alone(
    redis: Any, store: RedisOrderStore
) -> None:
    """Others that are accepted in the same round trip are."""
    await redis.delete(keyspace.product("case"))
    await redis.set(keyspace.product("case"), "300")
    broken, sound = await asyncio.gather(
        store.accept(a_placement(ORDER)),
        store.accept(a_placement(an_order("b", cable=1))),
        return_exceptions=True,
    )
    assert isinstance(broken, StoreUnavailable)
    assert not isinstance(sound, BaseException)
    assert isinstance(sound.result, Accepted)
    assert await redis.exists("order:a", "idemp:a") == 0


async def test_a_name_is_one_line_of_a_bounded_length(redis: Any, store: RedisOrderStore) -> None:
    """Whatever an operator has written there by hand."""
    await price(redis, "cable", 1999, name="USB\tcable\nof\x01ours " + "ü" * 900)
    await redis.hdel(keyspace.product("case"), "name")
    result = (await store.accept(a_placement(ORDER))).result
    assert isinstance(result, Accepted)
    assert result.prices is not None
    assert result.prices.lines == (
        LinePrice(unit_amount=1999, name=("USB cable of ours " + "ü" * 900)[:200]),
        LinePrice(unit_amount=300, name=""),
    )


async def test_a_replay_has_the_prices_of_the_first_answer(redis: Any, store: RedisOrderStore) -> None:
    """However they have changed since, and whatever the order has come to."""
    placement = a_placement(ORDER, key="key", amount_total=4298)
    await store.accept(placement)
    await price(redis, "cable", 1)
    await price(redis, "case", 1, "USD")
    again = (await store.accept(placement)).result
    assert again == Replayed(order_id="a", media_type=JSON, prices=PRICES)


@pytest.mark.parametrize("outbox_limit", [100, 1], ids=["room", "a full outbox"])
async def test_a_known_order_is_not_compared_with_todays_prices(
    redis: Any, store: RedisOrderStore, outbox_limit: int
) -> None:
    """Key and id are looked at before the outbox, and that before prices."""
    expecting = a_placement(ORDER, key="key", amount_total=4298)
    await store.accept(expecting)
    await price(redis, "cable", 1)
    store = order_store(redis, outbox_limit=outbox_limit)
    other_content = a_placement(ORDER, key="key", amount_total=4297)
    without_key = a_placement(ORDER, amount_total=4298)
    assert isinstance((await store.accept(expecting)).result, Replayed)
    assert (await store.accept(other_content)).result == KeyReused(order_id="a")
    result = (await store.accept(without_key)).result
    assert isinstance(result, Duplicate)
    assert result.same_content
    fresh = a_placement(an_order("b", cable=1), amount_total=1999)
    if outbox_limit == 1:
        with pytest.raises(OutboxFull):
            await store.accept(fresh)
    else:
        assert isinstance((await store.accept(fresh)).result, PriceChanged)


async def test_what_is_expected_is_part_of_the_content(store: RedisOrderStore) -> None:
    """The same items at another expected price are another request, as RFC and contract have it."""
    await store.accept(a_placement(ORDER, amount_total=4298))
    for other in (a_placement(ORDER), a_placement(ORDER, currency="EUR", amount_total=4298)):
        result = (await store.accept(other)).result
        assert isinstance(result, Duplicate)
        assert not result.same_content


async def test_a_script_that_is_run_again_returns_the_prices_that_it_fixed(
    redis: Any, store: RedisOrderStore
) -> None:
    """A connection that dropped after the first run, and a price that changed before the second."""
    call = acceptance_call(a_placement(ORDER, amount_total=4298), "token", 100, 10)
    script = load("accept")
    first = await script.run(redis, call.keys, call.arguments)
    await price(redis, "cable", 1)
    assert await script.run(redis, call.keys, call.arguments) == first
    assert first[2] == "EUR\t4298\n1999\tCable\n300\tCase"


async def test_a_decision_announces_the_prices_of_the_record(redis: Any, store: RedisOrderStore) -> None:
    """Also to a message of an older gateway, which has none; asked again it says the same."""
    await stocked(redis, cable=10, case=10)
    await store.accept(a_placement(ORDER))
    await price(redis, "cable", 1)
    decisions = store_recreating(redis, A_CENTURY)
    for event in (placed(ORDER), placed(ORDER, prices=PRICES), placed(ORDER, prices=prices_of(3, 1, 1))):
        decision = await decide_one(decisions, event)
        assert isinstance(decision, Created)
        assert decision.prices == PRICES
        announced = event_of(ORDER, decision, TRACE)
        assert decode(encode(announced)) == announced


async def test_a_dropped_order_keeps_its_prices(redis: Any, store: RedisOrderStore) -> None:
    """Its rejection is announced like any other."""
    await store.accept(a_placement(ORDER))
    (decision,) = await RedisOrderBooks(as_service(redis, "dashboard"), timeout_seconds=5.0).drop(
        [placed(ORDER)]
    )
    assert not isinstance(decision, Created)
    assert getattr(decision, "prices", None) == PRICES


async def test_a_record_that_was_lost_is_recreated_with_its_prices(redis: Any) -> None:
    """The message has what the client was told, and the next answer has it again."""
    await stocked(redis, cable=10, case=10)
    await price(redis, "cable", 1)
    event = placed(ORDER, prices=PRICES)
    decisions = store_recreating(redis, A_CENTURY)
    first, again = await decide_one(decisions, event), await decide_one(decisions, event)
    assert isinstance(first, Created)
    assert first.prices == PRICES
    assert again == first
    assert (await record_of(redis, "a")).prices == PRICES


async def test_a_message_and_its_copy_from_the_record_are_the_same(
    redis: Any, store: RedisOrderStore
) -> None:
    """Byte for byte: the gateway makes one, the relay the other."""
    acceptance = await store.accept(a_placement(ORDER))
    assert isinstance(acceptance.result, Accepted)
    assert acceptance.accepted_at is not None
    fresh: Event[Any] = placed(ORDER, at=acceptance.accepted_at, prices=acceptance.result.prices)
    assert encode((await record_of(redis, "a")).placed) == encode(fresh)


async def test_a_thousand_buyers_while_a_price_changes_have_one_price_each(redis: Any) -> None:
    """Exactly one of those that there were, the same in answer, record, message and total."""
    await price(redis, "cable", 1000)
    store = order_store(redis, outbox_limit=2_000)

    async def change(amounts: Sequence[int]) -> None:
        for amount in amounts:
            await price(redis, "cable", amount, name=f"Cable {amount}")

    orders = [an_order(f"o{number}", cable=1 + number % 3) for number in range(1_000)]
    results = []
    for start in range(0, len(orders), 20):
        changing = asyncio.create_task(change([1001 + start // 10, 1002 + start // 10]))
        batch = [store.accept(a_placement(order)) for order in orders[start : start + 20]]
        results += await asyncio.gather(*batch)
        await changing
    seen = set()
    for order, acceptance in zip(orders, results, strict=True):
        assert isinstance(acceptance.result, Accepted)
        prices = acceptance.result.prices
        assert prices is not None
        (line,) = prices.lines
        assert line is not None
        seen.add(line.unit_amount)
        assert line.name == ("Cable" if line.unit_amount == 1000 else f"Cable {line.unit_amount}")
        assert prices.amount_total == line.unit_amount * order.items[0].qty
        record = await store.get(order.id)
        assert record is not None
        assert record.prices == prices
    assert seen <= set(range(1000, 1101))
    assert len(seen) > 10


def test_fingerprints_of_before_there_were_prices_still_hold() -> None:
    """Keys that were stored by an older gateway are known to a newer one."""
    order = an_order(email="a@example.com", cable=2, case=1)
    assert content_fingerprint(an_order(cable=1)) == "e9e02059a06897168cd92a8180b1634d"
    assert content_fingerprint(order) == "ca2f436fefb13254e3242af2712e5b02"
    assert request_fingerprint(order, Cost()) == content_fingerprint(order)
    assert len({request_fingerprint(order, each) for each in _EXPECTATIONS}) == len(_EXPECTATIONS)


_EXPECTATIONS = (
    Cost(),
    Cost(currency="EUR"),
    Cost(amount_total=0),
    Cost(amount_total=4298),
    Cost(currency="EUR", amount_total=4298),
)
