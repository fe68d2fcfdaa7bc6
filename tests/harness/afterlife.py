"""The way of an order into the dead letters and out of them again, in memory: the real handlers, stores and
scripts over the in-memory broker, and a place to crash between any two steps."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from dashboard.dead_letters.actions import Action, Drop, Erase, Redrive
from dashboard.dead_letters.desk import DeadLetterDesk, Errand, Looked, Tally
from dashboard.dead_letters.letter import Wanted
from dashboard.dead_letters.store import RedisTurns
from dashboard.dead_letters.trail import RedisAuditTrail
from notifier.domain import TOLD, Notification
from order_processor.handlers import OrderPlacedHandler
from shared import keyspace
from shared.errors import PermanentError
from shared.messages import Event, Order, OrderPlaced, encode_order
from shared.messaging.dead_letters import Letters
from shared.messaging.memory import MemoryBroker
from shared.messaging.ports import Delivery, OutgoingMessage
from shared.messaging.router import Consuming, Router
from shared.messaging.settlement import FailureListener, message_of
from shared.orders.decisions import Decision
from shared.orders.model import OrderStatus, Trouble
from shared.orders.ports import LetterStep, Noted
from shared.orders.records import OrderRecord, read_record
from shared.orders.redis.dead_letters import RedisOrderBooks
from shared.orders.redis.decisions import RedisDecisionStore
from shared.pipeline import NOTIFIER, ORDER_PROCESSOR, RETRY_TIERS_SECONDS
from shared.redis.client import Redis
from shared.redis.lease import Lease
from shared.service.lifecycle import running
from tests.harness.examples import TRACE, placed
from tests.harness.notifying import notification_handler, notification_store
from tests.harness.routing import CountingMetrics
from tests.harness.stores import store_in_process
from tests.harness.waiting import wait_until

SECONDS = 5.0
LEASE_SECONDS = 0.2
"""Of a notification: copies of one event in one batch wait for it."""
A_CENTURY = 100 * 365 * 86_400.0


class Crashed(BaseException):
    """The process is gone. No handler of errors sees it."""


@dataclass(slots=True)
class CrashPlan:
    """Crashes at the step whose number is ``at``, from 0, and counts the steps until then."""

    at: int | None = None
    steps: int = 0

    def step(self) -> None:
        """One place at which a process can die."""
        if self.steps == self.at:
            raise Crashed
        self.steps += 1


@dataclass(slots=True)
class Postbox:
    """Counts what customers are told, by event id, and refuses while it is told to."""

    sent: Counter[str] = field(default_factory=Counter)
    refuses: bool = False

    def channel_for(self, _: Notification) -> str:
        return "test"

    async def send(self, notification: Notification) -> None:
        if self.refuses:
            raise PermanentError("no such customer")
        self.sent[notification.id] += 1

    async def flush(self) -> None:
        """Nothing waits to be written."""


@dataclass(slots=True)
class NoReport:
    """Nobody listens."""

    async def opened(self, queue: str, waiting: int) -> None:
        """See Report."""

    async def acted(self, results: Sequence[Any]) -> None:
        """See Report."""


class _CrashingBroker:
    """The broker, which a crash can hit before and after everything that the dashboard does to it."""

    def __init__(self, broker: MemoryBroker, plan: CrashPlan) -> None:
        self._broker = broker
        self._plan = plan

    async def publish(self, message: OutgoingMessage) -> None:
        """See Publisher."""
        self._plan.step()
        await self._broker.publish(message)
        self._plan.step()

    @asynccontextmanager
    async def look_into(self, queue: str) -> AsyncIterator[Letters]:
        """See DeadLetterBox."""
        async with self._broker.look_into(queue) as letters:
            remove = letters.remove

            async def crashing(letter: Delivery) -> None:
                self._plan.step()
                await remove(letter)
                self._plan.step()

            letters.remove = crashing  # type: ignore[method-assign]
            yield letters


class _CrashingBooks:
    """The books, the same way."""

    def __init__(self, books: RedisOrderBooks, plan: CrashPlan) -> None:
        self._books = books
        self._plan = plan

    async def note(self, steps: Sequence[LetterStep]) -> Sequence[Noted]:
        self._plan.step()
        noted = await self._books.note(steps)
        self._plan.step()
        return noted

    async def revive(self, noted: Sequence[Noted]) -> None:
        await self._books.revive(noted)
        self._plan.step()

    async def accepted(self, order_id: str) -> Event[OrderPlaced] | None:
        return await self._books.accepted(order_id)

    async def drop(self, events: Sequence[Event[OrderPlaced]]) -> Sequence[Decision]:
        decisions = await self._books.drop(events)
        self._plan.step()
        return decisions


@dataclass(slots=True)
class Afterlife:
    """A processor, a notifier and any number of dashboards around one broker and one store."""

    redis: Any
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    customers: Postbox = field(default_factory=Postbox)
    plan: CrashPlan = field(default_factory=CrashPlan)

    # --- what happens -----------------------------------------------------------------------------------

    async def stock(self, sku: str, value: int | str) -> None:
        """Sets stock as an operator would by hand."""
        await self.redis.set(keyspace.inventory(sku), value)

    async def accept(self, order: Order) -> Event[OrderPlaced]:
        """What the gateway does with an order."""
        at = time.time_ns() // 1_000
        record = {"id": order.id, "status": "accepted", "order": encode_order(order), "accepted_at": at}
        record |= {"correlation_id": TRACE.correlation_id, "timeline": f"{at}\taccepted\t\t"}
        await self.redis.hset(keyspace.order(order.id), mapping=record)
        await self.redis.zadd(keyspace.orders_in(OrderStatus.ACCEPTED), {order.id: at})
        event = placed(order, at=at)
        await self.broker.publish(message_of(event))
        return event

    async def work(self) -> None:
        """Processor and notifier work until nothing is left for them."""
        stop = asyncio.Event()
        async with running(*(router.run(stop) for router in self._routers())):
            await wait_until(self.is_idle, what="all messages dealt with")

    def is_idle(self) -> bool:
        """Whether no message waits for these two but dead letters."""
        names = [
            name
            for each in (ORDER_PROCESSOR, NOTIFIER)
            for name in (each.queue, *map(each.retry_queue, RETRY_TIERS_SECONDS))
        ]
        return not any(self.broker.depth(name) + self.broker.unacked(name) for name in names)

    def _routers(self) -> list[Router]:
        decisions = RedisDecisionStore(
            self.redis, timeout_seconds=SECONDS, oldest_recreated_seconds=A_CENTURY
        )
        notifications = notification_store(
            self.redis, lease_seconds=LEASE_SECONDS, retention_seconds=A_CENTURY
        )
        telling = notification_handler(notifications, self.customers, lease_seconds=LEASE_SECONDS)
        deciding = Consuming(
            consumption=ORDER_PROCESSOR, handlers={OrderPlaced: OrderPlacedHandler(decisions)}
        )
        notifying = Consuming(consumption=NOTIFIER, handlers=dict.fromkeys(TOLD, telling))
        return [
            self._router(deciding, decisions),
            self._router(notifying, notifications),
        ]

    def _router(self, consuming: Consuming, failures: FailureListener) -> Router:
        return Router(
            consuming,
            publisher=self.broker,
            subscriber=self.broker,
            failures=failures,
            metrics=CountingMetrics(),
        )

    # --- what an operator does --------------------------------------------------------------------------

    def desk(self) -> DeadLetterDesk:
        """The desk of a dashboard that has just started, which may crash by plan."""
        lease = Lease(self.redis, keyspace.DEAD_LETTERS_LEASE, timeout_seconds=SECONDS)
        broker = _CrashingBroker(self.broker, self.plan)
        return DeadLetterDesk(
            box=broker, publisher=broker, turns=RedisTurns(lease), trail=self.trail(), clock=time.time
        )

    def trail(self) -> RedisAuditTrail:
        """What was done to dead letters."""
        return RedisAuditTrail(self.redis, timeout_seconds=SECONDS)

    def redrive(self) -> Redrive:
        """The action, which may crash by plan."""
        return Redrive(
            publisher=_CrashingBroker(self.broker, self.plan), books=self._books(), clock=time.time
        )

    def drop(self) -> Drop:
        """The action, which may crash by plan."""
        return Drop(publisher=_CrashingBroker(self.broker, self.plan), books=self._books())

    def erase(self) -> Erase:
        """The action, which may crash by plan."""
        return Erase(self._books())

    def _books(self) -> _CrashingBooks:
        return _CrashingBooks(RedisOrderBooks(self.redis, timeout_seconds=SECONDS), self.plan)

    async def do(self, action: Action, wanted: Wanted | None = None, *, limit: int | None = None) -> Tally:
        """Runs an errand at a desk of its own."""
        errand = Errand(action=action, wanted=wanted or Wanted(), client="127.0.0.1", limit=limit)
        return await self.desk().act(errand, NoReport())

    async def letters(self, wanted: Wanted | None = None) -> Looked:
        """What a look finds."""
        return await self.desk().look(wanted or Wanted(), 1_000)

    # --- what can be seen -------------------------------------------------------------------------------

    async def order(self, order_id: str) -> OrderRecord:
        """The record as the gateway reads it."""
        return read_record(await self.redis.hgetall(keyspace.order(order_id)))

    async def steps(self, order_id: str) -> list[str]:
        """The order's timeline, by the names of its steps."""
        return [step.step for step in (await self.order(order_id)).timeline]

    async def decided(self) -> int:
        """How many orders have been decided."""
        return int(await self.redis.get(keyspace.PROCESSED_COUNT) or 0)

    async def available(self, sku: str) -> int:
        """What is left of a SKU."""
        return int(await self.redis.get(keyspace.inventory(sku)))

    async def indexes(self, order_id: str) -> list[str]:
        """The statuses in whose index the order stands."""
        return [
            status.value
            for status in (*OrderStatus, *Trouble)
            if await self.redis.zscore(keyspace.orders_in(status), order_id) is not None
        ]


@asynccontextmanager
async def afterlife(redis: Redis | None = None) -> AsyncIterator[Afterlife]:
    """All of it around an empty store."""
    async with store_in_process() as own:
        yield Afterlife(redis=redis or own)
