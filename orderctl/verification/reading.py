"""Orders as the oracle wants to see them, in pages: the record, and what its customer was told.

Claims are read before records and notifications, in the same round trip: whatever is claimed as told was
decided before it, and is noted.
An order that moves to another index between two reads is not mistaken for one that is wrong: what looks wrong
is looked for in its index once more.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from redis.exceptions import ResponseError

from orderctl.oracle import Absent, OrderState, Sighting, Unreadable
from shared import keyspace
from shared.errors import DecodeError
from shared.keyspace import NotificationStatus
from shared.messages import decode_order, event_time
from shared.orders.decisions import EVENT_TYPES
from shared.orders.model import OUTCOMES, OrderStatus, Trouble, outcome_of
from shared.orders.records import standing
from shared.prices import read_prices
from shared.redis.client import Redis, store_deadline

PAGE: Final = 500
UNCONFIRMED: Final = "unconfirmed"
"""Stands in the claim of an event about which a letter went out that was not answered."""
Claims = Mapping[OrderStatus, str]
"""What the notifier noted about the event of each outcome."""
_FIELDS: Final = (
    "order",
    "status",
    "trouble",
    "sequence",
    "accepted_at",
    "decided_at",
    "reason",
    "attempts",
    "next_attempt_at",
    "prices",
)
_NOTED: Final = ("event_id", "status", "last_error", "collected")


class RecordReader:
    """Reads orders. Raises StoreUnavailable.

    ``retention_seconds`` is how long a notification's claim is kept: beyond it, nobody knows who was told.
    """

    def __init__(self, redis: Redis, *, timeout_seconds: float, retention_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds
        self._retention = round(retention_seconds * 1_000_000)

    async def listed(self, index: OrderStatus | Trouble) -> AsyncIterator[Sequence[Sighting]]:
        """Every order that is in this index from the first page to the last, page by page."""
        async for page in self._pages(index):
            yield await self.read(page, index)

    async def read(
        self, order_ids: Sequence[str], listed: OrderStatus | Trouble | None = None
    ) -> list[Sighting]:
        """These orders as they are now. Those that have left ``listed`` and are decided are left out."""
        cutoff = await self._now() - self._retention
        claims, records, notes = await self._read(order_ids)
        status = listed if isinstance(listed, OrderStatus) else None
        found = [
            _with_note(_sighting(order_id, fields, claimed, status, cutoff), note)
            for order_id, fields, claimed, note in zip(order_ids, records, claims, notes, strict=True)
        ]
        return found if listed is None else await self._still_listed(found, listed)

    async def _pages(self, index: OrderStatus | Trouble) -> AsyncIterator[Sequence[str]]:
        """Ids by time of acceptance. Several may share one instant, so the last one is read once more."""
        lowest: float | str = "-inf"
        seen_there: set[str] = set()
        while True:
            async with store_deadline(self._timeout_seconds):
                found: list[tuple[str, float]] = await self._redis.zrange(
                    keyspace.orders_in(index),
                    lowest if isinstance(lowest, str) else repr(lowest),
                    "+inf",
                    byscore=True,
                    offset=0,
                    num=PAGE + len(seen_there),
                    withscores=True,
                )
            fresh = [order_id for order_id, _ in found if order_id not in seen_there]
            if not fresh:
                return
            yield fresh
            last = found[-1][1]
            seen_there = {order_id for order_id, score in found if score == last}
            lowest = last

    @asynccontextmanager
    async def _together(self) -> AsyncIterator[Any]:
        """Questions in one round trip."""
        deadline = store_deadline(self._timeout_seconds)
        async with deadline, self._redis.pipeline(transaction=False) as pipeline:
            yield pipeline

    async def _now(self) -> int:
        async with store_deadline(self._timeout_seconds):
            seconds, microseconds = await self._redis.time()
        return int(seconds) * 1_000_000 + int(microseconds)

    async def _read(self, order_ids: Sequence[str]) -> tuple[list[Claims], list[Any], list[Any]]:
        """Claims, records, and what is noted of notifications, of which any may be an error."""
        keys = [
            keyspace.notification_claim(f"{order_id}:{event}")
            for order_id in order_ids
            for event in EVENT_TYPES.values()
        ]
        async with self._together() as pipeline:
            pipeline.mget(keys)
            for order_id in order_ids:
                pipeline.hmget(keyspace.order(order_id), _FIELDS)
            for order_id in order_ids:
                pipeline.hmget(keyspace.notifications(order_id), _NOTED)
            values, *found = await pipeline.execute(raise_on_error=False)
        if isinstance(values, ResponseError):
            raise values
        marks = iter(values)
        claims: list[Claims] = [{outcome: str(next(marks) or "") for outcome in OUTCOMES} for _ in order_ids]
        return claims, found[: len(order_ids)], found[len(order_ids) :]

    async def _still_listed(self, found: Sequence[Sighting], listed: OrderStatus | Trouble) -> list[Sighting]:
        """Keeps what is right, and of the rest what is in its index still."""
        odd = [_id_of(sighting) for sighting in found if not _agrees(sighting, listed)]
        if not odd:
            return list(found)
        async with self._together() as pipeline:
            for order_id in odd:
                pipeline.zscore(keyspace.orders_in(listed), order_id)
            scores = await pipeline.execute()
        gone = {order_id for order_id, score in zip(odd, scores, strict=True) if score is None}
        kept = (_moved(sighting) if _id_of(sighting) in gone else sighting for sighting in found)
        return [sighting for sighting in kept if sighting is not None]


def is_untold(state: OrderState) -> bool:
    """Whether the order is decided and its customer has not been told, as far as anybody can know."""
    return state.outcome is not None and state.told is not None and not state.told.get(state.outcome)


def _sighting(
    order_id: str, fields: Any, claims: Claims, listed: OrderStatus | None, cutoff: int
) -> Sighting:
    if isinstance(fields, Exception):
        return Unreadable(order_id=order_id, fault=str(fields), listed=listed)
    record: Mapping[str, str] = {
        name: value for name, value in zip(_FIELDS, fields, strict=True) if value is not None
    }
    if not record:
        return Absent(order_id=order_id, listed=listed)
    try:
        order = decode_order(record["order"])
        if order.id != order_id:
            return Unreadable(order_id=order_id, fault=f"it is about {order.id}", listed=listed)
        decided_at = int(record.get("decided_at") or 0)
        forgotten = 0 < decided_at <= cutoff  # its claim may have expired already
        told = {
            outcome: int(mark.startswith(NotificationStatus.SENT.value)) for outcome, mark in claims.items()
        }
        status, trouble = standing(record)
        return OrderState(
            order=order,
            status=status,
            outcome=outcome_of(status, is_decided=decided_at > 0),
            trouble=trouble,
            sequence=int(record["sequence"]) if record.get("sequence") else None,
            listed=listed,
            told=None if forgotten else told,
            unconfirmed=not forgotten and any(UNCONFIRMED in mark for mark in claims.values()),
            detail="" if decided_at else _detail(record, trouble),
            prices=read_prices(record.get("prices"), len(order.items)),
        )
    except (DecodeError, KeyError, ValueError) as error:
        return Unreadable(order_id=order_id, fault=_text(error), listed=listed)


def _detail(record: Mapping[str, str], trouble: Trouble | None) -> str:
    """What an operator wants to know of an order that is not decided."""
    parts = [trouble.value] if trouble else []
    if record.get("accepted_at"):
        parts.append(f"accepted at {_clock(record['accepted_at'])}")
    if record.get("reason"):
        parts.append(record["reason"])
    if record.get("attempts"):
        parts.append(f"{record['attempts']} attempts")
    if record.get("next_attempt_at"):
        parts.append(f"next attempt at {_clock(record['next_attempt_at'])}")
    return ", ".join(parts)


def _clock(microseconds: str) -> str:
    return event_time(int(microseconds)).strftime("%Y-%m-%d %H:%M:%SZ")


def _text(error: Exception) -> str:
    return f"no field {error}" if isinstance(error, KeyError) else str(error)


def _with_note(state: Sighting, note: Any) -> Sighting:
    """With what speaks against it in the notification that readers are shown, or why nobody was told."""
    if not isinstance(state, OrderState) or state.told is None or isinstance(note, Exception):
        return state
    event_id, status, error, collected = note
    if state.outcome is None or event_id is None:
        return state
    if event_id != f"{state.order.id}:{EVENT_TYPES[state.outcome]}":
        return replace(state, contradiction=f"is {state.status}, its notification is about {event_id}")
    if state.told.get(state.outcome):
        said = f"its customer was told, its notification says {status}"
        return state if status == NotificationStatus.SENT else replace(state, contradiction=said)
    if status == NotificationStatus.FAILED:
        return replace(state, undeliverable=True, detail=f"notification dead-lettered: {error or ''}")
    return replace(state, collected=collected is not None)


def _agrees(sighting: Sighting, listed: OrderStatus | Trouble) -> bool:
    return isinstance(sighting, OrderState) and listed in (sighting.status, sighting.trouble)


def _moved(sighting: Sighting) -> Sighting | None:
    """An order that has left the index it was found in; the decided ones are met again in theirs."""
    if isinstance(sighting, OrderState) and sighting.outcome is None:
        return replace(sighting, listed=None)
    return None


def _id_of(sighting: Sighting) -> str:
    return sighting.order.id if isinstance(sighting, OrderState) else sighting.order_id
