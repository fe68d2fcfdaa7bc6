"""Orders that are paid for, and a payment provider that does as it is told."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from order_processor.payments import Payments
from order_processor.provider import Authorised, Charge, Declined, PaymentProvider, ProviderUnanswered
from shared import keyspace
from shared.messages import Order
from shared.orders.decisions import Created
from shared.orders.redis.decisions import RedisDecisionStore
from shared.orders.redis.moves import RedisMoves
from shared.orders.redis.payments import RedisPayments
from shared.redis.client import Redis
from shared.redis.lease import Lease
from tests.harness.decisions import A_CENTURY
from tests.harness.pricing import price
from tests.harness.shop import SECONDS, Shop
from tests.harness.stores import as_service

PRICE = 700


@dataclass
class ToldProvider:
    """A provider that answers from ``script``, a word for each request, and then as all is well.

    ``lost`` requests do nothing, ``unanswered`` ones do their work and are not answered.
    """

    script: list[str] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)
    returned: dict[str, int] = field(default_factory=dict)
    voided: set[str] = field(default_factory=set)
    declines: bool = False

    async def authorise(self, charge: Charge) -> Authorised | Declined:
        """See PaymentProvider."""
        fate = self.script.pop(0) if self.script else ""
        if fate != "lost" and charge.key not in self.voided and not self.declines:
            self.taken.setdefault(charge.key, 1)
        if fate:
            raise ProviderUnanswered(fate)
        is_taken = charge.key in self.taken and charge.key not in self.voided
        return Authorised() if is_taken else Declined(reason="insufficient_funds")

    async def void(self, key: str) -> None:
        """See PaymentProvider."""
        fate = self.script.pop(0) if self.script else ""
        if fate != "lost":
            self.voided.add(key)
            self.returned[key] = self.taken.get(key, 0)
        if fate:
            raise ProviderUnanswered(fate)


def decisions_of(redis: Redis, *, asks_payment: bool = True) -> RedisDecisionStore:
    """A processor's store where orders are paid for."""
    return RedisDecisionStore(
        as_service(redis, "order_processor"),
        timeout_seconds=SECONDS,
        oldest_recreated_seconds=A_CENTURY,
        asks_payment=asks_payment,
    )


def payments_of(redis: Redis, provider: PaymentProvider, *, timeout_seconds: float = SECONDS) -> Payments:
    """A processor's payments."""
    own = as_service(redis, "order_processor")
    return Payments(
        RedisPayments(own, timeout_seconds=SECONDS),
        RedisMoves(own, timeout_seconds=SECONDS),
        provider,
        Lease(own, keyspace.PAYMENTS_LEASE, timeout_seconds=SECONDS),
        timeout_seconds=timeout_seconds,
    )


async def created_order(redis: Any, order: Order, *, asks_payment: bool = True) -> None:
    """Ten pieces of each SKU, an order of some of them at ``PRICE`` each, and its decision."""
    for item in order.items:
        await price(redis, item.sku, PRICE)
        await redis.set(keyspace.inventory(item.sku), 10)
        await redis.hset(keyspace.SUPPLIED, item.sku, 10)
    shop = Shop(redis)
    await shop.accept(order)
    record = await shop.orders.get(order.id)
    assert record is not None
    (decision,) = await decisions_of(redis, asks_payment=asks_payment).decide([record.placed])
    assert isinstance(decision, Created)
    await redis.zrem(keyspace.UNTOLD, *await redis.zrange(keyspace.UNTOLD, 0, -1))


async def all_due(redis: Any) -> Collection[str]:
    """Has the time come of all payments about which something is to be done."""
    waiting: list[str] = await redis.zrange(keyspace.PAYMENTS_DUE, 0, -1)
    if waiting:
        await redis.zadd(keyspace.PAYMENTS_DUE, dict.fromkeys(waiting, 1))
    return waiting


async def settled(redis: Any, payments: Payments, rounds: int = 10) -> None:
    """Nothing is left to be done about any payment."""
    for _ in range(rounds):
        if not await all_due(redis):
            return
        await payments.settle()
    raise AssertionError(f"still due after {rounds} rounds: {await all_due(redis)}")
