"""The dashboard's dead-letter desk, and the operator who sends letters back or drops them meanwhile."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from dashboard.dead_letters.actions import Acted, Action, Drop, Redrive
from dashboard.dead_letters.desk import DeadLetterDesk, Errand, Tally
from dashboard.dead_letters.letter import DEAD_QUEUES, Letter, Wanted
from dashboard.dead_letters.store import RedisTurns
from dashboard.dead_letters.trail import RedisAuditTrail
from dashboard.live.feed import Feed
from dashboard.live.telling import Teller
from shared import keyspace
from shared.errors import BrokerUnavailable, SubscriptionLost
from shared.http.event_stream import EventReader
from shared.messaging.dead_letters import LETTERS_PER_LOOK, DeadLettersBusy, Letters
from shared.orders.redis.dead_letters import RedisOrderBooks
from shared.orders.redis.log import LogPosition, OrderLog
from shared.redis.lease import Lease
from shared.service.lifecycle import running
from tests.simulator.broker import Session, SimulatedBroker, SimulatedPublisher
from tests.simulator.processes import Process
from tests.simulator.services import STORE_SECONDS, Surroundings

OPERATOR: Final = "operator"


class Dashboard:
    """The dashboard behind its HTTP port, as far as it does something about dead letters."""

    def __init__(self, around: Surroundings, process: Process, _: random.Random) -> None:
        redis, publisher = around.store.client(), SimulatedPublisher(around.broker)
        books = RedisOrderBooks(redis, timeout_seconds=STORE_SECONDS)
        lease = Lease(redis, keyspace.DEAD_LETTERS_LEASE, timeout_seconds=STORE_SECONDS)
        self._desk = DeadLetterDesk(
            box=SimulatedBox(around.broker, process),
            publisher=publisher,
            turns=RedisTurns(lease),
            trail=RedisAuditTrail(redis, timeout_seconds=STORE_SECONDS),
            clock=around.time.time,
        )
        self._redrive = Redrive(publisher=publisher, books=books, clock=around.time.time)
        self._drop = WrittenDown(Drop(publisher=publisher, books=books), around.dropped)
        self._trace = around.trace
        self._is_watched = around.plan.is_watched
        self._feed = Feed(OrderLog(redis, timeout_seconds=STORE_SECONDS), _all_is_well)
        self._teller = Teller(self._feed)

    async def run(self, stop: asyncio.Event) -> None:
        """See Service."""
        if self._is_watched:
            async with running(self._feed.run_steps()):
                await stop.wait()
                self._feed.close()
        else:
            await stop.wait()

    async def watch(self, reader: EventReader, seen: str) -> None:
        """Tells a client what happens, after what it has seen. Raises what ends the stream."""
        with self._feed.watched():
            await self._teller.tell(reader, LogPosition(log_id=seen) if seen else None, has_steps=True)

    async def redrive(self, limit: int | None, queues: Sequence[str] = DEAD_QUEUES) -> Tally:
        """Sends letters back, all of them where there is no limit. Raises DependencyUnavailable."""
        return await self._act(self._redrive, limit, queues)

    async def drop(self, limit: int | None, queues: Sequence[str] = DEAD_QUEUES) -> Tally:
        """Drops letters. Raises DependencyUnavailable."""
        return await self._act(self._drop, limit, queues)

    async def _act(self, action: Action, limit: int | None, queues: Sequence[str]) -> Tally:
        errand = Errand(action=action, wanted=Wanted(queues=queues), client=OPERATOR, limit=limit)
        tally = await self._desk.act(errand, Unread())
        self._trace.note(f"{action.name}: {tally}")
        return tally


async def _all_is_well() -> Sequence[str]:
    return ()


class WrittenDown:
    """An action, and which letters it let go, by queue and body."""

    def __init__(self, action: Action, gone: set[tuple[str, bytes]]) -> None:
        self.name = action.name
        self._action = action
        self._gone = gone

    async def carry_out(self, letters: Sequence[Letter]) -> Sequence[Acted]:
        """See Action."""
        results = await self._action.carry_out(letters)
        self._gone.update((each.letter.queue, each.letter.delivery.body) for each in results if each.is_done)
        return results


class Unread:
    """Nobody reads the report."""

    async def opened(self, queue: str, waiting: int) -> None:
        """See Report."""

    async def acted(self, results: Sequence[Acted]) -> None:
        """See Report."""


class SimulatedBox:
    """One dashboard's sight of the dead letters: a consumer on its connection, as any other."""

    def __init__(self, broker: SimulatedBroker, process: Process) -> None:
        self._broker = broker
        self._process = process

    @asynccontextmanager
    async def look_into(self, queue: str) -> AsyncIterator[Letters]:
        """See DeadLetterBox."""
        session = Session(self._broker, queue, LETTERS_PER_LOOK)
        self._process.on_death(session.die_unnoticed)

        async def begin() -> int:
            if self._broker.queues.consumers(queue):
                raise DeadLettersBusy(f"somebody else is reading {queue}")
            waiting = self._broker.queues.depth(queue)
            await session.open()
            return waiting

        passage = self._broker.weather.to_broker()
        try:
            try:
                waiting = await self._broker.network.ask(
                    begin, passage, lambda: SubscriptionLost("connection lost")
                )
            except SubscriptionLost as error:
                raise BrokerUnavailable(str(error)) from error
            yield Letters(session, waiting)
        finally:
            session.close()
