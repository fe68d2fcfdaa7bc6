"""What is to be told of stock: an outbox in Redis, by SKU, so that many changes of one are told at once.

Every script that changes ``inventory:{sku}`` notes the SKU in ``stock.changed``. From there it is taken to be
told, with the stock and the time of that instant, and forgotten once it was told: at least once, and what is
told twice has the same bytes. A change by hand in Redis notes nothing.
"""

from collections.abc import Sequence
from typing import Any, Final, cast

from catalogue.store import SOURCE
from shared import keyspace
from shared.messages import Trace, event_time
from shared.redis.client import Redis, store_deadline
from shared.redis.scripts import Script, ScriptCall
from shared.redis.stock import integer
from shared.shop_events import ProductStockUpdated, shop_event
from shared.sql.outbox import OutboxRow

NO_TRACE: Final = Trace(correlation_id="")
"""Many orders may have changed the stock that is told."""


class StockOutbox:
    """Rows as outboxes in SQL have them. Every method raises StoreUnavailable."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds
        self._taken = Script.load("catalogue", "stock_taken")
        self._told = Script.load("catalogue", "stock_told")

    async def oldest(self, kind: str, limit: int) -> Sequence[OutboxRow]:
        """What was taken and not told yet; where there is none, up to ``limit`` are taken."""
        async with store_deadline(self._timeout_seconds):
            telling = await self._redis.hgetall(keyspace.STOCK_TELLING)
            if not telling:
                skus = cast(list[str], await self._redis.srandmember(keyspace.STOCK_CHANGED, limit))
                keys = keyspace.STOCK_CHANGED, keyspace.STOCK_TELLING
                calls = [ScriptCall([*keys, keyspace.inventory(sku)], [sku]) for sku in skus]
                if not calls:
                    return ()
                await self._taken.run_many(self._redis, calls)
                telling = await self._redis.hgetall(keyspace.STOCK_TELLING)
        return [_row(kind, sku, taken) for sku, taken in telling.items()]

    async def remove(self, rows: Sequence[OutboxRow]) -> None:
        """These were told."""
        arguments = [word for row in rows for word in (row.subject, row.number)]
        async with store_deadline(self._timeout_seconds):
            await self._told.run(self._redis, [keyspace.STOCK_TELLING], arguments)


def _row(kind: str, sku: str, taken: str) -> OutboxRow:
    at, _, available = taken.partition(" ")
    event = shop_event(
        ProductStockUpdated(sku=sku, stock=integer(available)),
        source=SOURCE,
        number=int(at),
        time=event_time(int(at)),
        trace=NO_TRACE,
    )
    return OutboxRow(number=int(at), kind=kind, subject=sku, body=event)
