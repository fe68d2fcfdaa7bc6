"""A replay on a running system, from its addresses to its end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from ledger.reading import LedgerReader
from orderctl.embedded.publishing import EmbeddedPublisher
from orderctl.errors import NotRunningError, OrderctlError
from orderctl.replay.history import HistoryPage, HistoryPlace, OrderHistory, WantedSteps, steps_of
from orderctl.replay.sending import OrderRecords, Replay, ReplayReport, SendingPace
from shared.errors import DatabaseUnavailable, StoreUnavailable
from shared.messaging.ports import Publisher
from shared.messaging.rabbitmq.broker import RabbitPublisher
from shared.messaging.rabbitmq.connection import LinkTimes
from shared.orders.redis.log import OrderLog
from shared.pipeline import Consumption
from shared.redis.client import open_redis
from shared.sql.database import open_database
from shared.sql.migrations import migrations_of

NAME: Final = "replay"
STORE_SECONDS: Final = 10.0
LEDGER_SECONDS: Final = 60.0
CONFIRM_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Of the system: store, brokers, none to count only, and the ledger's database where it runs.

    An embedded system takes messages where its store is.
    """

    redis: str
    brokers: Sequence[str]
    ledger: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """What is told again, to whom: of ``span``, what happened after ``begin`` where that is known.

    It is about one order, or about all.
    """

    consumption: Consumption
    span: WantedSteps
    begin: HistoryPlace | None = None
    order_id: str | None = None
    per_second: float


async def replay(
    addresses: Addresses,
    plan: ReplayPlan,
    report: ReplayReport,
    advanced: Callable[[], None] = lambda: None,
) -> None:
    """Sends what the plan says, or counts it. Raises OrderctlError; ``report`` says how far it came."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(
            open_redis(addresses.redis, timeout_seconds=STORE_SECONDS, max_connections=2)
        )
        ledger = None
        if addresses.ledger is not None:
            database = open_database(
                addresses.ledger, migrations_of("ledger"), timeout_seconds=LEDGER_SECONDS
            )
            ledger = LedgerReader(await stack.enter_async_context(database))
        records = OrderRecords(redis, ledger, timeout_seconds=STORE_SECONDS)
        history = OrderHistory(OrderLog(redis, timeout_seconds=STORE_SECONDS), ledger)
        publisher: Publisher | None
        if addresses.brokers == [addresses.redis]:
            publisher = EmbeddedPublisher(redis, timeout_seconds=CONFIRM_SECONDS)
        else:
            publisher = await stack.enter_async_context(_publishing(addresses.brokers))
        replaying = Replay(plan.consumption, records, publisher, SendingPace(plan.per_second))
        try:
            await replaying.run(_pages(plan, history, records), report, advanced)
        except (StoreUnavailable, DatabaseUnavailable) as error:
            raise OrderctlError(f"what happened cannot be read: {error}", advice="orderctl status") from error


async def _pages(
    plan: ReplayPlan, history: OrderHistory, records: OrderRecords
) -> AsyncIterator[HistoryPage]:
    if plan.order_id is None:
        begin = plan.begin or await history.beginning(plan.span.since)
        async for page in history.pages(begin, plan.span):
            yield page
        return
    kept, gone = await records.of([plan.order_id])
    record = kept.get(plan.order_id) or gone.get(plan.order_id)
    if record is None:
        raise OrderctlError(f"there is no order {plan.order_id}, neither in the store nor in the ledger")
    yield HistoryPage(steps=steps_of(record, plan.span))


@asynccontextmanager
async def _publishing(urls: Sequence[str]) -> AsyncIterator[Publisher | None]:
    """A publisher that is connected; none without brokers."""
    if not urls:
        yield None
        return
    publisher = RabbitPublisher(urls, name=NAME, timeout_seconds=CONFIRM_SECONDS, times=LinkTimes())
    running = asyncio.create_task(publisher.run())
    try:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await publisher.wait_ready()
        except TimeoutError as error:
            raise NotRunningError(f"no broker takes messages: {publisher.unready_reason()}") from error
        yield publisher
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
