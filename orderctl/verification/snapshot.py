"""The cut through a live system that everything else is compared with: one script, one instant."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orderctl.errors import OrderctlError
from orderctl.oracle import StockState
from shared import keyspace
from shared.orders.model import OrderStatus
from shared.orders.moves import ANNOUNCED, Move
from shared.orders.records import OrderRecord
from shared.orders.redis.decisions import decision_call
from shared.orders.redis.moves import RedisMoves
from shared.orders.redis.reading import fetch_records
from shared.orders.redis.scripts import load
from shared.orders.redis.sweep import UNDECIDED
from shared.pipeline import ORDER_PROCESSOR
from shared.redis.client import Redis, store_deadline
from shared.redis.rights import OPERATOR

KEYS_PER_STEP: Final = 1_000
FINISHED_AT_ONCE: Final = 100
_AN_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Stock and decisions of one instant, and how many orders there were by status and in the outbox."""

    stock: StockState
    sizes: Mapping[OrderStatus, int]
    outbox: int

    @property
    def orders(self) -> int:
        """How many orders were kept."""
        return sum(self.sizes.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long ended orders are kept, None where no processor said so, and when those removed had ended."""

    seconds: float | None
    removed_until: float


class SnapshotReader:
    """Takes snapshots. Raises StoreUnavailable."""

    def __init__(self, redis: Redis, *, timeout_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds
        self._script = load("snapshot", "orderctl.verification")
        self._decide = load("decide")
        self._moves = RedisMoves(redis, timeout_seconds=timeout_seconds)

    async def take(self) -> Snapshot:
        """Now. SKUs that were only ever set by hand are looked for first, among all keys."""
        await self.finish_decisions()
        await self.finish_releases()
        found = await self._skus_by_hand()
        keys = [
            keyspace.PROCESSED_COUNT,
            keyspace.RESERVED,
            keyspace.SUPPLIED,
            keyspace.SKUS,
            keyspace.ARCHIVE,
            keyspace.OUTBOX,
            keyspace.RELEASES,
            *(keyspace.orders_in(status) for status in OrderStatus),
        ]
        async with store_deadline(self._timeout_seconds):
            answer = await self._script.run(self._redis, keys, [keyspace.inventory(""), *found])
        return _snapshot(answer)

    async def finish_decisions(self) -> None:
        """Has every decision written to its end that was cut, as a redelivery of its message would."""
        async for records in self._records_behind(keyspace.decision("*")):
            async with store_deadline(self._timeout_seconds):
                by = ORDER_PROCESSOR.service  # whose death it was
                calls = [decision_call(record.placed, by) for record in records]
                await self._decide.run_many(self._redis, calls)

    async def finish_releases(self) -> None:
        """The same for cancellations, as the client who asks again would."""
        async for records in self._records_behind(keyspace.move("*")):
            for record in records:
                move = Move(order_id=record.order.id, to=OrderStatus.CANCELLED, by=OPERATOR)
                await self._moves.move(record, move)

    async def _records_behind(self, pattern: str) -> AsyncIterator[Sequence[OrderRecord]]:
        """The orders of the keys of this pattern."""
        keys = sorted(await self._keys(pattern))
        for start in range(0, len(keys), FINISHED_AT_ONCE):
            ids = [key.removeprefix(pattern[:-1]) for key in keys[start : start + FINISHED_AT_ONCE]]
            async with store_deadline(self._timeout_seconds):
                records = await fetch_records(self._redis, ids)
            yield [record for record in records if record is not None]

    async def decided(self) -> int:
        """How many decisions have been made by now."""
        async with store_deadline(self._timeout_seconds):
            return _counted(keyspace.PROCESSED_COUNT, await self._redis.get(keyspace.PROCESSED_COUNT) or "0")

    async def archive(self) -> Mapping[str, str]:
        """What is left of removed orders, as it stands now."""
        async with store_deadline(self._timeout_seconds):
            archive: Mapping[str, str] = await self._redis.hgetall(keyspace.ARCHIVE)
        return archive

    async def kept(self) -> Retention:
        """What the processor says of the orders that it keeps."""
        async with store_deadline(self._timeout_seconds):
            seconds, until = await self._redis.zmscore(
                keyspace.KEPT, [keyspace.KEPT_SECONDS, keyspace.REMOVED_UNTIL]
            )
        return Retention(seconds=seconds, removed_until=(until or 0.0) / 1_000_000)

    async def _skus_by_hand(self) -> Sequence[str]:
        return sorted({keyspace.sku_of(key) for key in await self._keys(keyspace.INVENTORY_PATTERN)})

    async def _keys(self, pattern: str) -> set[str]:
        found: set[str] = set()
        cursor = 0
        while True:
            async with store_deadline(self._timeout_seconds):
                cursor, keys = await self._redis.scan(cursor, match=pattern, count=KEYS_PER_STEP)
            found.update(keys)
            if not cursor:
                return found


def archived_stock(archive: Mapping[str, str]) -> Mapping[str, int]:
    """The pieces by SKU that removed orders had reserved."""
    return {
        field.removeprefix("sku:"): _counted(keyspace.ARCHIVE, pieces)
        for field, pieces in archive.items()
        if field.startswith("sku:")
    }


def archived_orders(archive: Mapping[str, str]) -> int:
    """How many orders were removed."""
    return sum(_counted(keyspace.ARCHIVE, archive.get(status, "0")) for status in ANNOUNCED)


def _snapshot(answer: list[Any]) -> Snapshot:
    decided, reserved, supplied, archive, stock, outbox, sizes, releases, taken_at = answer
    available = {sku: _integer(value) for sku, value in _pairs(stock).items()}
    put_in = {sku: _counted(keyspace.SUPPLIED, pieces) for sku, pieces in _pairs(supplied).items()}
    removed = _pairs(archive)
    return Snapshot(
        stock=StockState(
            decided=_counted(keyspace.PROCESSED_COUNT, decided),
            available=available,
            reserved={sku: _counted(keyspace.RESERVED, pieces) for sku, pieces in _pairs(reserved).items()},
            supplied={sku: put_in.get(sku, 0) for sku in {*available, *put_in}},
            archived=archived_stock(removed),
            archived_orders=archived_orders(removed),
            archived_undecided=_counted(keyspace.ARCHIVE, removed.get(UNDECIDED, "0")),
            releases=_counted(keyspace.RELEASES, releases),
            taken_at=int(taken_at),
        ),
        sizes={status: int(size) for status, size in zip(OrderStatus, sizes, strict=True)},
        outbox=int(outbox),
    )


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _counted(key: str, text: str) -> int:
    """What only scripts write; raises OrderctlError where somebody else has."""
    number = _integer(text)
    if number is None:
        raise OrderctlError(f"{key} holds {text!r}, which is no number: nothing can be compared with it")
    return number


def _integer(text: str) -> int | None:
    return int(text) if _AN_INTEGER.fullmatch(text) else None
