"""The pipeline's figures in Redis. Nothing here writes."""

import re
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from dashboard.overview.state import Answer, Question, StoreServer, StoreState
from shared import keyspace
from shared.keyspace import NotificationStatus
from shared.messages import event_time
from shared.orders.model import OrderStatus, Trouble
from shared.orders.redis.log import OrderLog
from shared.orders.redis.reading import fetch_notification, fetch_records
from shared.redis.client import Redis, is_away, outage, store_deadline
from shared.redis.stock import StockReader

_MICROSECONDS: Final = 1_000_000
_WAITING: Final = (OrderStatus.ACCEPTED, *Trouble)
_INDEXES: Final = (*OrderStatus, *Trouble)
_LOOKED_AT: Final = 500
"""How many of the oldest orders are looked at for one that is in no trouble."""
SKUS_READ: Final = 1_000
"""The first of them, by name: each is a line of every answer and a series of every scrape."""
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")


class RedisStoreReader:
    """See the port."""

    def __init__(self, redis: Redis, stock: StockReader, *, timeout_seconds: float) -> None:
        self._redis = redis
        self._stock = stock
        self._log = OrderLog(redis, timeout_seconds=timeout_seconds)
        self._timeout_seconds = timeout_seconds

    async def read(self) -> StoreState:
        (
            clock,
            processed,
            outbox,
            oldest,
            moves,
            oldest_move,
            untold,
            oldest_untold,
            unpaid,
            next_payment,
            notifications,
            *by_status,
        ) = await self._figures()
        sizes = dict(zip(_INDEXES, by_status, strict=False))
        waiting = by_status[len(_INDEXES) :]
        now = clock[0] * _MICROSECONDS + clock[1]
        steps = await self._log.kept()
        return StoreState(
            read_at=event_time(now),
            processed=_integer(processed),
            orders={status: _integer(sizes[status]) for status in OrderStatus},
            trouble={trouble: _integer(sizes[trouble]) for trouble in Trouble},
            notifications=_by_status(notifications),
            outbox=_sum(outbox, moves),
            outbox_oldest_seconds=max(
                filter(None, (_age_seconds(each, now) for each in (oldest, oldest_move))), default=None
            ),
            oldest_seconds=_oldest_seconds(waiting, now),
            untold=_integer(untold),
            untold_oldest_seconds=_age_seconds(oldest_untold, now),
            unpaid=_integer(unpaid),
            unpaid_late_seconds=_age_seconds(next_payment, now),
            log_entries=steps.entries,
            unwritten_oldest_seconds=steps.behind_seconds.get("ledger"),
            unpromised_oldest_seconds=steps.behind_seconds.get("webhooks"),
            server=await self._server(),
            inventory=(await self._stock.list("", SKUS_READ)).stock,
            skus=await self._stock.count(),
        )

    async def counts(self) -> tuple[int, int]:
        async with store_deadline(self._timeout_seconds), self._redis.pipeline(transaction=False) as pipeline:
            _ = pipeline.get(keyspace.PROCESSED_COUNT)
            _ = pipeline.hget(keyspace.NOTIFICATION_COUNTS, NotificationStatus.SENT.value)
            decided, told = await pipeline.execute(raise_on_error=False)
        for figure in (decided, told):
            if isinstance(figure, RedisError) and is_away(figure):
                raise outage(figure) from figure
        return _integer(decided) or 0, _integer(told) or 0

    async def answer(self, question: Question) -> Answer:
        level = None if question.sku is None else await self._stock.get(question.sku)
        if question.order_id is None:
            return Answer(inventory_level=level)
        async with store_deadline(self._timeout_seconds):
            (order,) = await fetch_records(self._redis, [question.order_id])
            told = await fetch_notification(self._redis, question.order_id)
        return Answer(inventory_level=level, order=order, notification=told)

    async def _figures(self) -> list[Any]:
        """One transaction, so that an order which is being decided is counted in one status exactly."""
        async with store_deadline(self._timeout_seconds), self._redis.pipeline(transaction=True) as pipeline:
            _ = pipeline.time()
            _ = pipeline.get(keyspace.PROCESSED_COUNT)
            for queue in (keyspace.OUTBOX, keyspace.MOVES, keyspace.UNTOLD, keyspace.PAYMENTS_DUE):
                _ = pipeline.zcard(queue)
                _ = pipeline.zrange(queue, 0, 0, withscores=True)
            _ = pipeline.hgetall(keyspace.NOTIFICATION_COUNTS)
            for index in _INDEXES:
                _ = pipeline.zcard(keyspace.orders_in(index))
            for index in _WAITING:
                _ = pipeline.zrange(keyspace.orders_in(index), 0, _LOOKED_AT - 1, withscores=True)
            figures = list(await pipeline.execute(raise_on_error=False))
        for figure in figures:
            if isinstance(figure, RedisError) and is_away(figure):
                raise outage(figure) from figure
        return figures

    async def _server(self) -> StoreServer | None:
        """None where the server does not know INFO, may not tell us, or leaves something out."""
        async with store_deadline(self._timeout_seconds):
            try:
                told = await self._redis.info()
            except ResponseError:
                return None
        try:
            return StoreServer(
                memory_bytes=int(told["used_memory"]),
                memory_limit_bytes=int(told["maxmemory"]),
                clients=int(told["connected_clients"]),
                commands=int(told["total_commands_processed"]),
                is_writing=told["aof_last_write_status"] == "ok",
            )
        except KeyError:
            return None


def _integer(figure: object) -> int | None:
    """A figure that was read, 0 where there is none yet, None where it is none."""
    if figure is None:
        return 0
    text = str(figure)
    return int(text) if _INTEGER.fullmatch(text) else None


def _sum(*figures: object) -> int | None:
    """None where one of them is not known."""
    read = [_integer(figure) for figure in figures]
    return None if None in read else sum(filter(None, read))


def _by_status(counts: Any) -> dict[NotificationStatus, int | None]:
    if not isinstance(counts, dict):
        return dict.fromkeys(NotificationStatus, None)
    return {status: _integer(counts.get(status.value)) for status in NotificationStatus}


def _oldest_seconds(waiting: list[Any], now: int) -> dict[OrderStatus | Trouble, float]:
    """Of the accepted orders those are meant that are in no trouble, as far as the oldest tell."""
    accepted, *troubled = waiting
    if isinstance(accepted, list):
        named = {order_id for places in troubled if isinstance(places, list) for order_id, _ in places}
        waiting[0] = [place for place in accepted if place[0] not in named] or accepted[-1:]
        waiting[0] = waiting[0] if len(accepted) == _LOOKED_AT or set(dict(accepted)) - named else []
    ages = {index: _age_seconds(places, now) for index, places in zip(_WAITING, waiting, strict=True)}
    return {index: age for index, age in ages.items() if age is not None}


def _age_seconds(oldest: Any, now: int) -> float | None:
    match oldest:
        case [(_, score), *_]:
            return max(now - float(score), 0.0) / _MICROSECONDS
        case _:
            return None
