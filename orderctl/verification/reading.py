"""Orders as the oracle wants to see them, in pages: the record, and what its customer was told.

Claims are read before notifications and these before records, in the same round trip: whatever is claimed as
told is noted, and whatever is noted has happened to the order.
An order that moves to another index between two reads is not mistaken for one that is wrong: what looks wrong
is looked for in its index once more.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from redis.exceptions import ResponseError

from orderctl.money import Paying
from orderctl.oracle import TOLD_STEPS, Absent, OrderState, Sighting, Unreadable
from shared import keyspace
from shared.errors import DecodeError
from shared.keyspace import NotificationStatus
from shared.messages import decode_order, event_time
from shared.orders.model import OrderStatus, Payment, Trouble, outcome_of
from shared.orders.moves import ANNOUNCED, EVENT_TYPES, TOLD, told_steps
from shared.orders.records import standing
from shared.prices import read_prices
from shared.redis.client import Redis, store_deadline

PAGE: Final = 500
UNCONFIRMED: Final = "unconfirmed"
"""Stands in the claim of an event about which a letter went out that was not answered."""
Claims = Mapping[OrderStatus, str]
"""What the notifier noted about the event of each step."""
_FIELDS: Final = (
    "order",
    "status",
    "trouble",
    "sequence",
    "released",
    "moved_at",
    "accepted_at",
    "decided_at",
    "reason",
    "attempts",
    "next_attempt_at",
    "prices",
    "payment",
    "customer",
)
_NOTED: Final = ("event_id", "status", "last_error", "collected", "sending_at")


class RecordReader:
    """Reads orders. Raises StoreUnavailable.

    ``retention_seconds`` is how long a notification's claim is kept: beyond it, nobody knows who was told.
    """

    def __init__(self, redis: Redis, *, timeout_seconds: float, retention_seconds: float) -> None:
        self._redis: Any = redis
        self._timeout_seconds = timeout_seconds
        self.retention_seconds = retention_seconds
        self._retention = round(retention_seconds * 1_000_000)

    async def listed(self, index: OrderStatus | Trouble) -> AsyncIterator[Sequence[Sighting]]:
        """Every order that is in this index from the first page to the last, page by page."""
        async for page in self._pages(index):
            yield await self.read(page, index)

    async def read(
        self, order_ids: Sequence[str], listed: OrderStatus | Trouble | None = None
    ) -> list[Sighting]:
        """These orders as they are now. Those that have left ``listed`` and are decided are left out."""
        now = await self._now()
        claims, notes, records, waiting, early = await self._read(order_ids, now)
        since = await self._declined_since([_customer(fields) for fields in records])
        status = listed if isinstance(listed, OrderStatus) else None
        found = [
            _with_note(
                _sighting(
                    order_id,
                    fields,
                    claimed,
                    status,
                    now - self._retention,
                    waiting,
                    is_early=order_id in early,
                ),
                note,
                declined_at,
            )
            for order_id, fields, claimed, note, declined_at in zip(
                order_ids, records, claims, notes, since, strict=True
            )
        ]
        found = await self._with_payments(found)
        return found if listed is None else await self._still_listed(found, listed)

    async def _with_payments(self, found: Sequence[Sighting]) -> list[Sighting]:
        """With how those are paid for that are to be: record and provider at one instant, each of them."""
        paid = [each for each in found if isinstance(each, OrderState) and each.paying is not None]
        if not paid:
            return list(found)
        async with store_deadline(self._timeout_seconds), self._redis.pipeline(transaction=True) as pipeline:
            for state in paid:
                pipeline.hmget(keyspace.order(state.order.id), "status", "payment")
                pipeline.hmget(keyspace.provider(state.order.id), "taken", "returned")
                pipeline.zscore(keyspace.PAYMENTS_DUE, state.order.id)
            answers = iter(await pipeline.execute())
        looked_at: dict[str, Sighting] = {}
        for state, (status, payment), money, due in zip(paid, answers, answers, answers, strict=False):
            paying = _paying(payment, money, due) if status == state.status else None  # it has moved since
            looked_at[state.order.id] = replace(state, paying=paying)
        return [looked_at.get(_id_of(sighting), sighting) for sighting in found]

    async def _declined_since(self, customers: Sequence[str | None]) -> Sequence[float | None]:
        """Since when each of them wants no mail, in microseconds."""
        names = list(dict.fromkeys(name for name in customers if name is not None))
        if not names:
            return [None] * len(customers)
        async with store_deadline(self._timeout_seconds):
            found = await self._redis.zmscore(keyspace.declined(keyspace.Channel.MAIL), names)
        since = dict(zip(names, found, strict=True))
        return [None if name is None else since[name] for name in customers]

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

    async def _read(
        self, order_ids: Sequence[str], now: int
    ) -> tuple[list[Claims], list[Any], list[Any], Collection[str], Collection[str]]:
        """Claims, what is noted of notifications, and records, of which any may be an error; last the moves
        among theirs that are yet to be announced, and those that wait for a time to come."""
        keys = [
            keyspace.notification_claim(f"{order_id}:{event}")
            for order_id in order_ids
            for event in (ANNOUNCED[step] for step in TOLD_STEPS)
        ]
        moves = [f"{order_id}:{status.value}" for order_id in order_ids for status in EVENT_TYPES]
        async with self._together() as pipeline:
            pipeline.mget(keys)
            for order_id in order_ids:
                pipeline.hmget(keyspace.notifications(order_id), _NOTED)
            for order_id in order_ids:
                pipeline.hmget(keyspace.order(order_id), _FIELDS)
            pipeline.zmscore(keyspace.MOVES, moves)
            pipeline.zmscore(keyspace.DUE, order_ids)
            values, *found, places, times = await pipeline.execute(raise_on_error=False)
        for answer in (values, places, times):
            if isinstance(answer, ResponseError):
                raise answer
        marks = iter(values)
        claims: list[Claims] = [{step: str(next(marks) or "") for step in TOLD_STEPS} for _ in order_ids]
        waiting = {move for move, place in zip(moves, places, strict=True) if place is not None}
        early = {
            order_id for order_id, at in zip(order_ids, times, strict=True) if at is not None and at > now
        }
        return claims, found[: len(order_ids)], found[len(order_ids) :], waiting, early

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


def _sighting(
    order_id: str,
    fields: Any,
    claims: Claims,
    listed: OrderStatus | None,
    cutoff: int,
    waiting: Collection[str],
    *,
    is_early: bool,
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
        told = {step: int(mark.startswith(NotificationStatus.SENT.value)) for step, mark in claims.items()}
        status, trouble = standing(record)
        moved_at = int(record.get("moved_at") or 0)
        told_at = moved_at if status in TOLD else decided_at
        forgotten = 0 < told_at <= cutoff  # its claim may have expired already
        outcome = outcome_of(status, is_decided=decided_at > 0)
        due = told_steps(status, outcome)
        return OrderState(
            order=order,
            status=status,
            outcome=outcome,
            trouble=trouble,
            sequence=int(record["sequence"]) if record.get("sequence") else None,
            released=int(record["released"]) if record.get("released") else None,
            is_early=is_early and status is OrderStatus.SCHEDULED,
            moved_at=moved_at,
            unpublished=f"{order_id}:{status.value}" in waiting,
            listed=listed,
            told=None if forgotten else told,
            unconfirmed=not forgotten and any(UNCONFIRMED in mark for mark in claims.values()),
            declined=bool(due) and claims[due[-1]] == NotificationStatus.DECLINED,
            detail="" if decided_at or moved_at else _detail(record, trouble),
            prices=read_prices(record.get("prices"), len(order.items)),
            paying=_paying(record.get("payment"), (None, None), None),
        )
    except (DecodeError, KeyError, ValueError) as error:
        return Unreadable(order_id=order_id, fault=_text(error), listed=listed)


def _paying(payment: str | None, money: Sequence[str | None], due: float | None) -> Paying | None:
    """How an order is paid for; raises ValueError."""
    if payment is None:
        return None
    taken, returned = (int(times or 0) for times in money)
    return Paying(payment=Payment(payment), taken=taken, returned=returned, is_due=due is not None)


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


def _with_note(state: Sighting, note: Any, declined_at: float | None) -> Sighting:
    """With what speaks against it in the notification that readers are shown, or why nobody was told."""
    if not isinstance(state, OrderState) or state.told is None or isinstance(note, Exception):
        return state
    (event_id, status, error, collected, begun_at), last = note, state.last_step
    if last is None or event_id is None:
        return state
    steps = {f"{state.order.id}:{ANNOUNCED[step]}": step for step in told_steps(state.status, state.outcome)}
    about, is_told = steps.get(event_id), state.told.get(last)
    due = NotificationStatus.SENT if is_told else NotificationStatus.DECLINED if state.declined else status
    if about is None or (about is not last and (is_told or state.declined)):
        return replace(state, contradiction=f"is {state.status}, its notification is about {event_id}")
    if status != due or (status == NotificationStatus.SENT and _is_after(begun_at, declined_at)):
        what = "was told" if is_told and status != due else "declined mail"
        return replace(state, contradiction=f"its customer {what}, its notification says {status}")
    if about is last and status == NotificationStatus.FAILED:
        return replace(state, undeliverable=True, detail=f"notification dead-lettered: {error or ''}")
    return replace(state, collected=not is_told and about is last and collected is not None)


def _customer(fields: Any) -> str | None:
    """Whose the order is; None where it is no customer's, or cannot be read."""
    return None if isinstance(fields, Exception) else fields[_FIELDS.index("customer")]


def _is_after(begun_at: str | None, declined_at: float | None) -> bool:
    """Whether a letter was begun after its customer had declined mail, as far as that is known."""
    is_known = begun_at is not None and begun_at.isdigit()
    return is_known and declined_at is not None and float(begun_at or 0) > declined_at


def _agrees(sighting: Sighting, listed: OrderStatus | Trouble) -> bool:
    return isinstance(sighting, OrderState) and listed in (sighting.status, sighting.trouble)


def _moved(sighting: Sighting) -> Sighting | None:
    """An order that has left the index it was found in; those that are over are met again in theirs."""
    if isinstance(sighting, OrderState) and not sighting.is_over:
        return replace(sighting, listed=None)
    return None


def _id_of(sighting: Sighting) -> str:
    return sighting.order.id if isinstance(sighting, OrderState) else sighting.order_id
