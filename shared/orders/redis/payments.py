"""Payments in Redis: whose turn it is, and what became of them."""

from collections.abc import Sequence
from typing import Any, Final

from shared import keyspace
from shared.logs import get_logger
from shared.orders.model import PAYMENTS, OrderStatus, Payment
from shared.orders.records import OrderRecord
from shared.orders.redis.reading import fetch_records
from shared.orders.redis.scripts import load
from shared.pipeline import ORDER_PROCESSOR
from shared.redis.client import BrokenKey, Redis, store_deadline

LONGEST_WAIT_SECONDS: Final = 60
"""Between two questions about one payment."""

log = get_logger(__name__)


class RedisPayments:
    """Payments by the store's own clock. Methods raise StoreUnavailable."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds
        self._pay = load("pay")

    async def due(self, limit: int) -> Sequence[tuple[str, OrderRecord | None]]:
        """Orders about whose payment something is to be done by now, the longest due first, with their
        records where these can be read.
        """
        async with store_deadline(self._timeout_seconds):
            seconds, microseconds = await self._redis.time()
            due: list[str] = await self._redis.zrange(
                keyspace.PAYMENTS_DUE,
                "-inf",
                seconds * 1_000_000 + microseconds,
                byscore=True,
                offset=0,
                num=limit,
            )
            return list(zip(due, await fetch_records(self._redis, due), strict=True))

    async def note(
        self,
        order_id: str,
        seen: OrderStatus | None,
        news: Payment | None = None,
        *,
        reason: str = "",
        is_settled: bool,
    ) -> None:
        """Where the payment of an order stands by now; None where there is no news.

        ``is_settled`` says that nothing is left to be done about it while the order stands where it was
        ``seen``; otherwise it is its turn again, each time a while later.
        """
        before = [payment for payment, following in PAYMENTS.items() if news in following]
        keys = [keyspace.order(order_id), keyspace.PAYMENTS_DUE, keyspace.LOG]
        arguments: list[str | int] = [
            *(order_id, news or "", reason, ORDER_PROCESSOR.service),
            f",{','.join(before)},",
            seen or "",
            "" if is_settled else LONGEST_WAIT_SECONDS,
        ]
        try:
            async with store_deadline(self._timeout_seconds):
                await self._pay.run(self._redis, keys, arguments)
        except BrokenKey as error:
            log.error("an order cannot be paid for", order_id=order_id, error=str(error))
            async with store_deadline(self._timeout_seconds):
                await self._redis.zincrby(keyspace.PAYMENTS_DUE, LONGEST_WAIT_SECONDS * 1_000_000, order_id)
