"""A store in this process in which orders happen, and a ledger that follows it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from aiohttp import ClientSession
from prometheus_client import CollectorRegistry

from ledger.follower import NAME, Follower
from ledger.main import build_app
from ledger.reading import LedgerReader
from ledger.rows import line_rows, order_row, step_rows
from ledger.store import Batch, LedgerStore
from shared import keyspace
from shared.http.guard import Guard
from shared.http.limits import HttpLimits
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.messages import Order, OrderItem, event_time
from shared.orders.following import FollowerFigures
from shared.orders.model import OrderStatus, Trouble
from shared.orders.records import OrderRecord, TimelineStep
from shared.orders.redis.log import OrderLog
from shared.prices import LinePrice, Prices, sum_of
from shared.redis.client import Redis
from shared.sql.database import Database
from tests.harness.decisions import decide_one, record_of, store_recreating
from tests.harness.endpoints import an_endpoint
from tests.harness.examples import TRACE, placed
from tests.harness.gateway import a_placement, order_store
from tests.harness.tokens import a_guard

AT: Final = 1_700_000_000_000_000
"""When orders of tests are accepted, in microseconds, unless they are told otherwise."""
A_CENTURY: Final = 100 * 365 * 86_400.0
SECONDS: Final = 30.0


def a_record(
    order_id: str,
    *,
    status: OrderStatus = OrderStatus.CREATED,
    at: int = AT,
    customer: str | None = None,
    trouble: Trouble | None = None,
    amounts: Mapping[str, int | None] | None = None,
    steps: Sequence[tuple[str, str]] = (("accepted", ""),),
    items: Mapping[str, int] = MappingProxyType({"cable": 1}),
) -> OrderRecord:
    """An order of these pieces by SKU, at these unit amounts in euros, with these steps and their reasons."""
    order = Order(id=order_id, items=tuple(OrderItem(sku=sku, qty=qty) for sku, qty in items.items()))
    prices = None
    if amounts is not None:
        found = [amounts.get(item.sku) for item in order.items]
        lines = tuple(None if each is None else LinePrice(unit_amount=each, name="A thing") for each in found)
        priced = Prices(currency="EUR", lines=lines, amount_total=None)
        prices = replace(priced, amount_total=sum_of([item.qty for item in order.items], priced))
    return OrderRecord(
        order=order,
        status=status,
        trouble=trouble,
        accepted_at=event_time(at),
        decided_at=None,
        reason=None,
        sku_at_fault=None,
        sequence=None,
        next_attempt_at=None,
        trace=TRACE,
        timeline=[
            TimelineStep(step=step, at=event_time(at + n), reason=reason or None, attempts=None)
            for n, (step, reason) in enumerate(steps)
        ],
        customer=customer,
        prices=prices,
    )


async def keep(store: LedgerStore, *records: OrderRecord) -> None:
    """Writes these into a ledger, as from one batch."""
    position = await store.position()
    assert await store.write(Batch(records=records), since=position, until=position)


@asynccontextmanager
async def served_ledger(database: Database, guard: Guard | None = None) -> AsyncIterator[ClientSession]:
    """The ledger's HTTP API on a free port of loopback."""
    limits = HttpLimits()
    app = build_app(LedgerReader(database), limits, guard or a_guard())
    async with (
        serve(app, an_endpoint(limits=limits), HttpMetrics(CollectorRegistry())) as port,
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


class Trial:
    """Orders happen, and are followed once it is asked for."""

    log_type = OrderLog

    def __init__(self, redis: Redis, database: Database) -> None:
        self.redis: Any = redis
        self.store = LedgerStore(database)
        self.registry = CollectorRegistry()
        self._figures = FollowerFigures(NAME, self.registry)
        self.follower = self.another()

    def another(self) -> Follower:
        """A follower that has just been started."""
        return Follower(self.store, self.redis, self._figures, timeout_seconds=SECONDS)

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
