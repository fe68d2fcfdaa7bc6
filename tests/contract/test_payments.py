"""Payments over the real scripts on both stores: what is paid for, what waits for it, and who notices."""

import asyncio
import random
from typing import Any
from unittest import mock

import pytest

from order_processor import simulated_provider
from order_processor.payments import PaymentStep, next_step
from order_processor.provider import Authorised, Charge, Declined, PaymentProvider, ProviderUnanswered
from order_processor.simulated_provider import Mishap, SimulatedProvider
from shared import keyspace
from shared.orders.model import OrderStatus, Payment
from shared.orders.moves import Moved, Unpaid
from shared.orders.redis.dead_letters import RedisOrderBooks
from tests.contract.test_cut_scripts import cut_after, uncut, until_uncut
from tests.harness.decisions import indexes_of, is_logged, record_of
from tests.harness.examples import an_order
from tests.harness.moving import ended, moved
from tests.harness.paying import (
    PRICE,
    ToldProvider,
    created_order,
    decisions_of,
    payments_of,
    settled,
)
from tests.harness.pricing import price
from tests.harness.shop import SECONDS, Shop
from tests.harness.stores import as_service
from tests.harness.waiting import wait_until
from tests.simulator.bank import Bank
from tests.simulator.network import Network
from tests.simulator.weather import Weather, draw

ORDER = an_order("a", cable=3)
LIMIT = 10_000


def simulated(redis: Any, *, limit: int = LIMIT, mishaps: int = 0) -> SimulatedProvider:
    """The provider that comes with the product, as the processor has it."""
    own = as_service(redis, "order_processor")
    return SimulatedProvider(own, timeout_seconds=SECONDS, limit=limit, mishaps=mishaps)


def _bank() -> Bank:
    """The simulator's, in good weather."""
    loop: Any = asyncio.get_running_loop()
    calm = Weather(draw(0), random.Random(0))
    calm.clear_up()
    return Bank(Network(loop), calm, random.Random(1), mishaps=0.0)


def charge(key: str = "a", amount: int = 2_100) -> Charge:
    """What an order costs."""
    return Charge(key=key, amount=amount, currency="EUR")


# --- the provider -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["of the product", "of the simulator", "of these tests"])
async def test_a_charge_is_made_once_and_never_after_it_was_voided(redis: Any, kind: str) -> None:
    """Whatever comes twice, and in whatever order it comes. All simulated providers keep this contract."""
    provider: PaymentProvider = simulated(redis)
    if kind != "of the product":
        provider = _bank() if kind == "of the simulator" else ToldProvider()
    assert await provider.authorise(charge()) == await provider.authorise(charge()) == Authorised()
    await provider.void("a")
    await provider.void("a")
    assert isinstance(await provider.authorise(charge()), Declined)
    await provider.void("b")
    assert isinstance(await provider.authorise(charge("b")), Declined)


async def test_the_simulated_provider_declines_what_costs_too_much(redis: Any) -> None:
    """For good: what was declined once is declined again."""
    assert await simulated(redis).authorise(charge(amount=LIMIT)) == Authorised()
    refused = Declined(reason="insufficient_funds")
    assert await simulated(redis).authorise(charge("b", LIMIT + 1)) == refused
    assert await simulated(redis, limit=10 * LIMIT).authorise(charge("b", LIMIT + 1)) == refused


@pytest.mark.parametrize("mishap", Mishap)
async def test_whatever_goes_wrong_the_money_is_taken_once(
    redis: Any, mishap: Mishap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that was not answered may have been carried out, or may be yet, and is made again."""
    monkeypatch.setattr(simulated_provider, "LATE_SECONDS", 0.01)
    dice = mock.Mock(uniform=lambda *_: 0.0, choice=lambda _: mishap)
    own = as_service(redis, "order_processor")
    others = asyncio.all_tasks()
    unlucky = SimulatedProvider(own, timeout_seconds=SECONDS, limit=LIMIT, mishaps=100, dice=dice)
    if mishap is Mishap.TWICE:
        assert await unlucky.authorise(charge()) == Authorised()
    else:
        with pytest.raises(ProviderUnanswered):
            await unlucky.authorise(charge())
    before = await redis.hget(keyspace.provider("a"), "taken")
    assert before == ("1" if mishap in (Mishap.UNANSWERED, Mishap.TWICE) else None)
    assert await simulated(redis).authorise(charge()) == Authorised()
    await wait_until(lambda: asyncio.all_tasks() <= others, what="the late request")
    assert await redis.hget(keyspace.provider("a"), "taken") == "1"


# --- the saga -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", OrderStatus)
@pytest.mark.parametrize("payment", [None, *Payment])
def test_there_is_one_next_step(status: OrderStatus, payment: Payment | None) -> None:
    """Money is taken for orders that go on, and given back for those that do not."""
    step = next_step(status, payment)
    if status is OrderStatus.CANCELLED:
        assert (step is PaymentStep.VOID) == (
            payment in (Payment.PENDING, Payment.UNKNOWN, Payment.AUTHORISED)
        )
    assert step is not PaymentStep.VOID or status is OrderStatus.CANCELLED
    assert step is not PaymentStep.AUTHORISE or payment in (Payment.PENDING, Payment.UNKNOWN)


async def test_an_order_is_prepared_only_once_it_is_paid_for(redis: Any) -> None:
    """It can be cancelled before; what is asked for in vain changes nothing."""
    await created_order(redis, ORDER)
    assert (await record_of(redis, "a")).payment is Payment.PENDING
    refused = await moved(redis, "a", OrderStatus.PROCESSING)
    assert refused == Unpaid(status=OrderStatus.CREATED, payment=Payment.PENDING)
    assert isinstance(refused, Unpaid)
    assert refused.allowed == [OrderStatus.CANCELLED]
    await settled(redis, payments_of(redis, simulated(redis)))
    assert await moved(redis, "a", OrderStatus.PROCESSING) == Moved(is_new=True)
    timeline = [step.step for step in (await record_of(redis, "a")).timeline]
    assert timeline == ["accepted", "created", "payment_pending", "payment_authorised", "processing"]
    assert await is_logged(redis)


async def test_an_order_for_which_nobody_pays_is_cancelled(redis: Any) -> None:
    """Its stock is back, and whoever looks at it learns why."""
    await created_order(redis, ORDER)
    await settled(redis, payments_of(redis, simulated(redis, limit=3 * PRICE - 1)))
    record = await record_of(redis, "a")
    assert (record.status, record.payment) == (OrderStatus.CANCELLED, Payment.DECLINED)
    assert record.timeline[-2].reason == "insufficient_funds"
    assert (record.timeline[-1].reason, record.timeline[-1].by) == ("payment_declined", "order_processor")
    assert await indexes_of(redis, "a") == ["cancelled"]
    assert await redis.get(keyspace.inventory("cable")) == "10"
    assert await redis.zrange(keyspace.MOVES, 0, -1) == ["a:cancelled"]


async def test_what_the_provider_does_not_answer_is_asked_again(redis: Any) -> None:
    """Later each time; the order says that nobody knows."""
    await created_order(redis, ORDER)
    payments = payments_of(redis, ToldProvider(script=["unanswered", "lost", "unanswered"]))
    waits = []
    for _ in range(3):
        assert await payments.settle() == 1
        seconds, _ = await redis.time()
        waits.append(await redis.zscore(keyspace.PAYMENTS_DUE, "a") / 1e6 - seconds)
        assert (await record_of(redis, "a")).payment is Payment.UNKNOWN
        assert await payments.settle() == 0
        await redis.zadd(keyspace.PAYMENTS_DUE, {"a": 1})
    assert [round(wait) in (at, at + 1) for wait, at in zip(waits, (1, 2, 4), strict=True)] == [True] * 3
    await settled(redis, payments)
    assert (await record_of(redis, "a")).payment is Payment.AUTHORISED
    assert await is_logged(redis)


async def test_a_cancelled_order_waits_until_the_provider_has_given_the_money_back(redis: Any) -> None:
    """A void that is not answered is made again."""
    await created_order(redis, ORDER)
    provider = ToldProvider()
    payments = payments_of(redis, provider)
    await settled(redis, payments)
    assert await moved(redis, "a", OrderStatus.CANCELLED) == Moved(is_new=True)
    provider.script = ["lost", "unanswered"]
    await settled(redis, payments)
    assert (await record_of(redis, "a")).payment is Payment.REFUNDED
    assert (provider.taken, provider.returned) == ({"a": 1}, {"a": 1})


@pytest.mark.parametrize("why", ["payments are off", "it costs nothing", "an item has no price"])
async def test_what_is_not_to_be_paid_for_goes_on_without(redis: Any, why: str) -> None:
    """Such an order has no payment at all."""
    await created_order(redis, ORDER, asks_payment=why != "payments are off")
    if why != "payments are off":
        await redis.flushall()
        order = an_order("a", cable=1, plug=1)
        shop = Shop(redis)
        await redis.set(keyspace.inventory("cable"), 10)
        await redis.set(keyspace.inventory("plug"), 10)
        free = {"unit_amount": 0, "currency": "EUR", "name": "Gift", "version": 1}
        await redis.hset(keyspace.product("cable"), mapping=free)
        if why == "it costs nothing":
            await redis.hset(keyspace.product("plug"), mapping=free)
        await shop.accept(order)
        await shop.decide(order)
    assert (await record_of(redis, "a")).payment is None
    assert await redis.zcard(keyspace.PAYMENTS_DUE) == 0
    assert await moved(redis, "a", OrderStatus.PROCESSING) == Moved(is_new=True)


async def test_a_note_of_a_payment_that_was_cut_is_finished(redis: Any) -> None:
    """By whoever has its turn next."""

    async def cut(writes: int) -> bool:
        await redis.flushall()
        await created_order(redis, ORDER)
        provider = ToldProvider()
        with cut_after(writes):
            answer = await uncut(payments_of(redis, provider).settle())
        await settled(redis, payments_of(redis, provider))
        assert (await record_of(redis, "a")).payment is Payment.AUTHORISED
        assert await is_logged(redis), f"cut after {writes} writes"
        return answer is None

    await until_uncut(cut)


async def test_a_decision_that_was_cut_is_paid_for_whoever_finishes_it(redis: Any) -> None:
    """An operator's drop finds it decided, and finishes that as it was begun."""

    async def cut(writes: int) -> bool:
        await redis.flushall()
        await price(redis, "cable", PRICE)
        await redis.set(keyspace.inventory("cable"), 10)
        shop = Shop(redis)
        await shop.accept(ORDER)
        record = await shop.orders.get("a")
        assert record is not None
        with cut_after(writes):
            answer = await uncut(decisions_of(redis).decide([record.placed]))
        if answer is not None:
            return False
        await RedisOrderBooks(as_service(redis, "dashboard"), timeout_seconds=SECONDS).drop([record.placed])
        found = await record_of(redis, "a")
        assert (found.status, found.payment) == (
            (OrderStatus.CREATED, Payment.PENDING) if writes else (OrderStatus.REJECTED, None)
        )
        assert await redis.zrange(keyspace.PAYMENTS_DUE, 0, -1) == (["a"] if writes else [])
        return True

    await until_uncut(cut)


async def test_a_record_that_is_broken_keeps_no_other_payment_waiting(redis: Any) -> None:
    """It is looked at again a minute later: it may be repaired."""
    await created_order(redis, ORDER)
    await created_order(redis, an_order("b", cable=1))
    await redis.delete(keyspace.order("a"))
    await redis.set(keyspace.order("a"), "broken")
    await payments_of(redis, ToldProvider()).settle()
    assert (await record_of(redis, "b")).payment is Payment.AUTHORISED
    assert await redis.zrange(keyspace.PAYMENTS_DUE, 0, -1) == ["a"]
    assert await payments_of(redis, ToldProvider()).settle() == 0


async def test_an_order_is_kept_until_its_money_is_back(redis: Any) -> None:
    """Its retention alone does not end it; what the simulated provider knows of it goes with it."""
    shop = Shop(redis)
    await created_order(redis, ORDER)
    provider = simulated(redis)
    await settled(redis, payments_of(redis, provider))
    await ended(redis, "a", OrderStatus.CANCELLED)
    assert await shop.sweep(0.0).sweep_once() == 0
    await settled(redis, payments_of(redis, provider))
    assert await redis.exists(keyspace.provider("a"))
    assert await shop.sweep(0.0).sweep_once() == 1
    assert await redis.keys("*:a") == []


# --- verify -------------------------------------------------------------------------------------------------


async def _paid(redis: Any) -> Shop:
    shop = Shop(redis)
    await created_order(redis, ORDER)
    await redis.set(keyspace.notification_claim("a:order.created.v1"), "sent")
    await settled(redis, payments_of(redis, simulated(redis)))
    return shop


@pytest.mark.parametrize(
    ("kind", "key", "fields"),
    [
        ("mischarged", keyspace.provider("a"), {"taken": 2}),
        ("mischarged", keyspace.provider("a"), {"returned": 1}),
        ("mischarged", keyspace.order("a"), {"payment": Payment.REFUNDED.value}),
        ("mischarged", keyspace.order("a"), {"payment": Payment.PENDING.value}),
        ("stuck", keyspace.order("a"), {"payment": Payment.UNKNOWN.value}),
    ],
    ids=["taken twice", "given back", "held though refunded", "nobody pays", "nobody knows"],
)
async def test_verify_holds_orders_against_the_provider(
    redis: Any, kind: str, key: str, fields: dict[str, str | int]
) -> None:
    """Money is where the order says, or will be."""
    shop = await _paid(redis)
    assert (await shop.verify()).verdict.passed
    await redis.hset(key, mapping=fields)
    assert "a" in (await shop.verify()).verdict.of_kind(kind)


async def test_verify_waits_for_a_payment_that_is_due(redis: Any) -> None:
    """It counts as stuck where nothing came of it in time."""
    shop = Shop(redis)
    await created_order(redis, ORDER)
    await redis.set(keyspace.notification_claim("a:order.created.v1"), "sent")
    verdict = (await shop.verify()).verdict
    assert (verdict.of_kind("stuck"), verdict.of_kind("mischarged")) == (["a"], [])


async def test_a_store_that_is_away_is_no_answer_of_the_provider(redis: Any) -> None:
    """Nobody knows then what the simulated provider has done."""
    await redis.set(keyspace.provider("a"), "broken")
    with pytest.raises(ProviderUnanswered):
        await simulated(redis).authorise(charge())
