"""A store in this process in which orders happen, and a ledger that follows it."""

from typing import Any, Final

from prometheus_client import CollectorRegistry

from ledger.follower import Follower, FollowerFigures
from ledger.store import LedgerStore, line_rows, order_row, step_rows
from shared import keyspace
from shared.messages import Order
from shared.orders.model import OrderStatus
from shared.orders.redis.log import OrderLog
from shared.redis.client import Redis
from shared.redis.lease import Lease
from shared.sql.database import Database
from tests.harness.decisions import decide_one, record_of, store_recreating
from tests.harness.examples import placed
from tests.harness.gateway import a_placement, order_store

A_CENTURY: Final = 100 * 365 * 86_400.0
SECONDS: Final = 30.0


class Trial:
    """Orders happen, and are followed once it is asked for."""

    log_type = OrderLog

    def __init__(self, redis: Redis, database: Database) -> None:
        self.redis: Any = redis
        self.store = LedgerStore(database)
        self.registry = CollectorRegistry()
        self._figures = FollowerFigures(self.registry)
        self.follower = self.another()

    def another(self) -> Follower:
        """A follower that has just been started."""
        return Follower(
            self.store,
            OrderLog(self.redis, timeout_seconds=SECONDS),
            self.redis,
            Lease(self.redis, keyspace.service_lease("ledger"), timeout_seconds=SECONDS),
            self._figures,
            timeout_seconds=SECONDS,
        )

    async def takes_over(self) -> Follower:
        """Another one, to which the lease of the one before it has fallen."""
        await self.redis.delete(keyspace.service_lease("ledger"))
        return self.another()

    async def accept(self, *orders: Order) -> None:
        """The gateway takes these."""
        gateway = order_store(self.redis, outbox_limit=10_000)
        for order in orders:
            await gateway.accept(a_placement(order, key=None))

    async def decide(self, *orders: Order) -> None:
        """The processor decides these."""
        for order in orders:
            await decide_one(store_recreating(self.redis, A_CENTURY), placed(order))

    async def trim_to_the_last(self) -> None:
        """Nothing but its last entry stays in the log."""
        await self.redis.xtrim(keyspace.LOG, maxlen=1, approximate=False)

    def heals(self, cause: str) -> float:
        """How often the records were read because of that."""
        return self.registry.get_sample_value("ledger_heals_total", {"cause": cause}) or 0.0

    async def is_true(self) -> bool:
        """Whether the ledger says of every order that has a record what the record says, and all of it."""
        for status in OrderStatus:
            for order_id in await self.redis.zrange(keyspace.orders_in(status), 0, -1):
                record = await record_of(self.redis, order_id)
                orders, lines, steps = await self.store.written([order_id])
                assert orders == [order_row(record)]
                assert lines == line_rows(record)
                assert steps == step_rows(record)
        return True
