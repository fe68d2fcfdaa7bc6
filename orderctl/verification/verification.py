"""How a live system is reconciled: a cut, all orders read once, another look at what is unsettled, a verdict.

Exact while orders flow, because decisions and releases of stock are numbered: whatever was decided or given
back after the cut has a higher number than the cut has counted. Indexes are read in the order of moves, so
that no order slips through between two of them; one that is met twice has moved after the cut. Removed orders
are accounted for by the archive, and while orders are read nothing is removed.

Memory holds one bit per decision, and the ids of what is not settled yet or was promised by a ledger.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from orderctl.errors import OrderctlError
from orderctl.money import PriceEvidence, is_unsettled
from orderctl.oracle import Absent, Evidence, Oracle, OrderState, Sighting, Verdict
from orderctl.verification.promises import Promises
from orderctl.verification.reading import PAGE, RecordReader
from orderctl.verification.republishing import Republisher
from orderctl.verification.snapshot import Snapshot, SnapshotReader, archived_orders
from shared.errors import StoreUnavailable
from shared.orders.model import OrderStatus, Trouble
from shared.redis.lease import Lease

WAITING: Final = (OrderStatus.SCHEDULED, OrderStatus.ACCEPTED)
INDEXES: Final = (*WAITING, *Trouble, *(status for status in OrderStatus if status not in WAITING))
"""In the order of moves, so that an order which moves meanwhile is not missed."""
MOST_COUNTS: Final = 3
LATE_ANSWER_SECONDS: Final = 60.0
"""So much later than its order's end a client may have written down that it was acknowledged."""
SWEEP_LEASE_SECONDS: Final = 30.0
SWEEP_RENEWAL_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """In seconds: how long orders may be unsettled without any news, at the very most, and between looks."""

    quiet: float = 30.0
    most: float = 300.0
    pause: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the verification is doing; ``total`` is 0 where nobody can know."""

    name: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """The verdict, the cut it rests on, what was given to the relay again, and how long all of it took."""

    verdict: Verdict
    snapshot: Snapshot
    promises: Promises
    republished: Sequence[str] = ()
    healed: int = 0
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class _Count:
    """What one walk through all orders has found: what is settled is with the oracle, the rest is here."""

    snapshot: Snapshot
    promises: Promises
    oracle: Oracle
    unsettled: dict[str, OrderStatus | None] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    read: int = 0


class Verification:
    """Reconciles once. Methods raise StoreUnavailable."""

    def __init__(
        self,
        *,
        snapshots: SnapshotReader,
        reader: RecordReader,
        sweep_lease: Lease,
        patience: Patience,
        progress: Callable[[Stage], None] = lambda stage: None,
    ) -> None:
        self._snapshots = snapshots
        self._reader = reader
        self._sweep_lease = sweep_lease
        self._patience = patience
        self._progress = progress

    async def run(self, promises: Promises, republisher: Republisher | None = None) -> Reconciliation:
        """The verdict on the system as it is; with a republisher, after what could be done about it."""
        count = await self._count(promises)
        for order_id in count.oracle.unseen - count.unsettled.keys() - count.dead:
            count.unsettled[order_id] = None
        await self._look_again(count)
        republished: Sequence[str] = ()
        if republisher is not None:
            republished = await self._republish(count, republisher)
        healed = sum(order_id not in count.unsettled for order_id in republished)
        await self._conclude(count)
        return Reconciliation(
            verdict=count.oracle.verdict(await self._snapshots.decided()),
            snapshot=count.snapshot,
            promises=count.promises,
            republished=republished,
            healed=healed,
        )

    async def _count(self, promises: Promises) -> _Count:
        async with _held(self._sweep_lease):
            for _ in range(MOST_COUNTS):
                count = await self._count_once(promises)
                removed = archived_orders(await self._snapshots.archive())
                if removed == count.snapshot.stock.archived_orders:
                    return count
        raise OrderctlError("old orders are being removed while they are counted; ask again")

    async def _count_once(self, promises: Promises) -> _Count:
        snapshot = await self._snapshots.take()
        removed_until = (await self._snapshots.kept()).removed_until + LATE_ANSWER_SECONDS
        expired = snapshot.stock.taken_at / 1_000_000 - self._reader.retention_seconds
        promises = promises.since(max(removed_until, expired))
        evidence = Evidence(
            stock=snapshot.stock,
            acknowledged=promises.acknowledged,
            contents=promises.contents,
            is_whole=True,
            prices=PriceEvidence(promised=promises.costs),
        )
        count = _Count(snapshot=snapshot, promises=promises, oracle=Oracle(evidence))
        for index in INDEXES:
            async for page in self._reader.listed(index):
                for sighting in page:
                    _take(count, sighting)
                count.read += len(page)
                self._progress(Stage(name="counting", done=count.read, total=snapshot.orders))
        return count

    async def _look_again(self, count: _Count, name: str = "waiting") -> None:
        """Looks at what is not settled until it is, or until there has been no news for long enough."""
        began = news_at = time.monotonic()
        total = len(count.unsettled)
        while count.unsettled:
            quiet_for, waited = time.monotonic() - news_at, time.monotonic() - began
            if quiet_for >= self._patience.quiet or waited >= self._patience.most:
                return
            self._progress(Stage(name=name, done=total - len(count.unsettled), total=total))
            await asyncio.sleep(self._patience.pause)
            if await self._look_once(count):
                news_at = time.monotonic()

    async def _look_once(self, count: _Count) -> bool:
        """Whether anything was settled or decided since the look before."""
        news = False
        for page in _pages(count.unsettled):
            for sighting in await self._reader.read(page):
                order_id, status = _id_and_status(sighting)
                if _is_dead(sighting):
                    del count.unsettled[order_id]
                    count.dead.add(order_id)
                elif _is_settled(sighting):
                    del count.unsettled[order_id]
                    count.oracle.see(sighting)
                else:
                    news |= status not in (None, *WAITING) and count.unsettled[order_id] is not status
                    count.unsettled[order_id] = status
                    continue
                news = True
        return news

    async def _republish(self, count: _Count, republisher: Republisher) -> Sequence[str]:
        found = {order_id: status for order_id, status in count.unsettled.items() if status is not None}
        if count.dead and await republisher.takes_dead_orders():
            found |= dict.fromkeys(count.dead, OrderStatus.ACCEPTED)
        self._progress(Stage(name="republishing", total=len(found)))
        republished = await republisher.republish(found)
        revived = count.dead.intersection(republished)
        count.dead -= revived
        count.unsettled |= dict.fromkeys(revived)
        if republished:
            await self._look_again(count, "republished, waiting")
        return republished

    async def _conclude(self, count: _Count) -> None:
        """What is left counts as it stands now."""
        for page in _pages([*count.unsettled, *count.dead]):
            for sighting in await self._reader.read(page):
                count.oracle.see(sighting)


def _take(count: _Count, sighting: Sighting) -> None:
    order_id, status = _id_and_status(sighting)
    if order_id in count.unsettled or order_id in count.dead:
        return  # it was in another index a moment ago
    is_misplaced = isinstance(sighting, OrderState) and sighting.listed not in (None, status)
    if isinstance(sighting, Absent) or is_misplaced or _is_settled(sighting):
        count.oracle.see(sighting)
    elif _is_dead(sighting):
        count.dead.add(order_id)
    else:
        count.unsettled[order_id] = status


def _is_settled(sighting: Sighting) -> bool:
    """Whether time will not change what is to be said of it. A missing record may be recreated yet."""
    if isinstance(sighting, OrderState):
        return sighting.is_early or (
            sighting.is_over
            and not (sighting.paying and is_unsettled(sighting.status, sighting.paying.payment))
            and not sighting.unpublished
            and (
                not sighting.is_untold or sighting.undeliverable or sighting.unconfirmed or sighting.collected
            )
        )
    return not isinstance(sighting, Absent)


def _is_dead(sighting: Sighting) -> bool:
    return isinstance(sighting, OrderState) and sighting.trouble is Trouble.DEAD


def _id_and_status(sighting: Sighting) -> tuple[str, OrderStatus | None]:
    if isinstance(sighting, OrderState):
        return sighting.order.id, sighting.status
    return sighting.order_id, None


def _pages(order_ids: "Sequence[str] | dict[str, OrderStatus | None]") -> list[list[str]]:
    ids = list(order_ids)
    return [ids[start : start + PAGE] for start in range(0, len(ids), PAGE)]


@asynccontextmanager
async def _held(lease: Lease) -> AsyncIterator[None]:
    """Keeps the sweep from running as far as that can be had; who counts notices if it ran all the same."""

    async def hold() -> None:
        while True:
            with suppress(StoreUnavailable):
                await lease.hold(SWEEP_LEASE_SECONDS)
            await asyncio.sleep(SWEEP_RENEWAL_SECONDS)

    with suppress(StoreUnavailable):
        await lease.hold(SWEEP_LEASE_SECONDS)
    holding = asyncio.create_task(hold())
    try:
        yield
    finally:
        holding.cancel()
        with suppress(asyncio.CancelledError):
            await holding
