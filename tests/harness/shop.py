"""The pipeline without its brokers: what services write, in the order in which they write it."""

from collections.abc import Sequence
from typing import Any

from notifier.domain import notification_of
from notifier.ports import Attempt
from orderctl.verification.promises import Promises
from orderctl.verification.reading import RecordReader
from orderctl.verification.republishing import Republisher
from orderctl.verification.snapshot import SnapshotReader
from orderctl.verification.verification import Patience, Reconciliation, Verification
from shared import keyspace
from shared.messages import Order
from shared.orders.decisions import Created, Rejected, event_of
from shared.orders.model import OrderStatus
from shared.orders.moves import TOLD, Moved, move_event
from shared.orders.redis.decisions import RedisDecisionStore
from shared.orders.redis.store import RedisOrderStore
from shared.orders.redis.sweep import Sweep
from shared.redis.client import Redis
from shared.redis.lease import Lease
from tests.harness.decisions import record_of
from tests.harness.examples import TRACE, an_order, placed
from tests.harness.gateway import a_placement
from tests.harness.moving import moved
from tests.harness.notifying import notification_store
from tests.harness.stores import as_service

SECONDS = 5.0
RETENTION_SECONDS = 3_600.0
IMPATIENT = Patience(quiet=0.0, pause=0.0)


class Shop:
    """The pipeline without its brokers: its stores, called in the order in which services call them."""

    def __init__(self, redis: Redis, *, retention_seconds: float = RETENTION_SECONDS) -> None:
        self.redis: Any = redis
        self.orders = RedisOrderStore(
            as_service(redis, "api_gateway"),
            timeout_seconds=SECONDS,
            claim_ttl_seconds=60,
            outbox_limit=10_000,
        )
        self.decisions = RedisDecisionStore(
            as_service(redis, "order_processor"), timeout_seconds=SECONDS, oldest_recreated_seconds=1e9
        )
        self.notifications = notification_store(redis, retention_seconds=retention_seconds)
        self.lease = Lease(
            as_service(redis, "order_processor"), keyspace.SWEEP_LEASE, timeout_seconds=SECONDS
        )

    async def accept(self, *orders: Order) -> None:
        """The gateway's part, with the message confirmed."""
        for order in orders:
            await self.orders.accept(a_placement(order))
        await self.redis.zrem(keyspace.OUTBOX, *(order.id for order in orders))

    async def decide(self, *orders: Order, tell: bool = True) -> None:
        """The processor's part, and the notifier's."""
        decisions = await self.decisions.decide([placed(order) for order in orders])
        attempts = []
        for order, decision in zip(orders, decisions, strict=True):
            assert isinstance(decision, Created | Rejected)
            notification = notification_of(event_of(order, decision, TRACE))
            attempts.append(Attempt(notification=notification, owner=order.id, channel="log"))
        if tell:
            await self.notifications.claim(attempts)
            await self.notifications.mark_sent(attempts)

    async def move(self, order_id: str, *moves: OrderStatus, tell: bool = True) -> None:
        """The gateway's part in these moves, with their events confirmed, and the notifier's."""
        for to in moves:
            assert await moved(self.redis, order_id, to) == Moved(is_new=True)
            await self.redis.zrem(keyspace.MOVES, f"{order_id}:{to.value}")
            event = move_event(await record_of(self.redis, order_id), to)
            assert event is not None
            if tell and to in TOLD:
                attempt = Attempt(notification=notification_of(event), owner=event.id, channel="log")
                await self.notifications.claim([attempt])
                await self.notifications.mark_sent([attempt])

    async def complete(self, *orders: Order) -> None:
        """An order's whole life."""
        await self.accept(*orders)
        await self.decide(*orders)

    def sweep(self, retention_seconds: float) -> Sweep:
        """Removes old orders."""
        lease = Lease(
            as_service(self.redis, "order_processor"), keyspace.SWEEP_LEASE, timeout_seconds=SECONDS
        )
        return Sweep(
            as_service(self.redis, "order_processor"),
            timeout_seconds=SECONDS,
            retention_seconds=retention_seconds,
            lease=lease,
        )

    async def verify(
        self,
        promises: Promises | None = None,
        *,
        dead_letters: int | None = None,
        republish: bool = False,
        patience: Patience = IMPATIENT,
        retention_seconds: float = RETENTION_SECONDS,
    ) -> Reconciliation:
        """What `orderctl verify` does."""

        async def counted() -> int | None:
            return dead_letters

        verification = Verification(
            snapshots=SnapshotReader(self.redis, timeout_seconds=SECONDS),
            reader=RecordReader(self.redis, timeout_seconds=SECONDS, retention_seconds=retention_seconds),
            sweep_lease=self.lease,
            patience=patience,
        )
        healer = Republisher(self.redis, timeout_seconds=SECONDS, dead_letters=counted)
        return await verification.run(promises or Promises(), healer if republish else None)

    async def faults(self, promises: Promises | None = None) -> dict[str, list[str]]:
        """What `orderctl verify` finds."""
        return (await self.verify(promises)).verdict.faults()


async def shop_of_four(redis: Any) -> Shop:
    """Four orders of two cables over seven of them: three created, one rejected, all told."""
    shop = Shop(redis)
    await redis.set(keyspace.inventory("cable"), 7)
    await redis.hset(keyspace.SUPPLIED, "cable", 7)
    await shop.complete(*orders(4))
    return shop


def orders(count: int, start: int = 1) -> Sequence[Order]:
    """Orders of two cables."""
    return [an_order(f"o{number}", cable=2) for number in range(start, start + count)]


def promised(*placed_orders: Order) -> Promises:
    """The ledger of a client that was told 202 for these."""
    return Promises(
        acknowledged={order.id for order in placed_orders},
        contents={order.id: order.items for order in placed_orders},
    )
