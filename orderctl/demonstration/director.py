"""Who does what when: the load, the kill in its middle, the way back, and the wait until all is settled."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from orderctl.brokers import leader_of, management_urls
from orderctl.demonstration.chronicle import Chronicle, Moment, Sample
from orderctl.errors import OrderctlError
from orderctl.gateway_client import GatewayAddress, connect
from orderctl.ledger import LedgerWriter
from orderctl.load import LoadPlan, LoadReport, run_load
from orderctl.system import SystemStatus
from shared import keyspace
from shared.errors import StoreUnavailable
from shared.keyspace import NotificationStatus
from shared.orders.model import OrderStatus
from shared.pipeline import ORDER_PROCESSOR
from shared.redis.client import Redis, open_redis, store_deadline
from shared.service.lifecycle import running

STORE_SECONDS: Final = 5.0
SAMPLE_PAUSE_SECONDS: Final = 0.1
LOOK_PAUSE_SECONDS: Final = 1.0
SETTLED_WITHIN_SECONDS: Final = 60.0
LEADER_WITHIN_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoScript:
    """What is shown. Times in seconds from the beginning of the load."""

    plan: LoadPlan
    sku: str
    stock: int
    kill_after: float
    start_after: float


class DemoStage(Protocol):
    """What of a system the demonstration needs; every `System` has it."""

    def status(self) -> SystemStatus: ...

    def kill(self, name: str) -> str: ...

    def start(self, name: str) -> str: ...


class Director:
    """Runs the demonstration once, and leaves the system whole whatever happens."""

    def __init__(
        self,
        system: DemoStage,
        status: SystemStatus,
        gateway: GatewayAddress,
        script: DemoScript,
        ledger: Path,
    ) -> None:
        self._system = system
        self._gateway = gateway
        self._status = status
        self._script = script
        self._ledger = ledger
        self._began = time.monotonic()
        self.chronicle = Chronicle(nodes={node.node: node.running for node in status.rabbitmq})

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    async def run(self) -> None:
        """From the first order to the last customer told. Raises OrderctlError."""
        leader = await self._leader()
        self.chronicle.leader = leader
        await self._stock()
        url = self._status.redis.url
        async with (
            open_redis(url, timeout_seconds=STORE_SECONDS, max_connections=2) as redis,
            self._watched(redis),
        ):
            load = asyncio.create_task(self._load())
            try:
                await asyncio.sleep(self._script.kill_after)
                await self._kill(leader)
                await asyncio.sleep(self._script.start_after - self._script.kill_after)
                await self._start(leader)
                await load
                await self._settle(leader)
            finally:
                load.cancel()
                if self.chronicle.killed_at is not None and self.chronicle.started_at is None:
                    await asyncio.to_thread(self._system.start, leader)

    async def _leader(self) -> str:
        deadline = time.monotonic() + LEADER_WITHIN_SECONDS
        urls = management_urls(self._status)
        while (leader := await leader_of(urls, ORDER_PROCESSOR.queue)) is None:
            if time.monotonic() > deadline:
                raise OrderctlError(
                    f"no broker tells who leads {ORDER_PROCESSOR.queue}", advice="orderctl doctor"
                )
            await asyncio.sleep(LOOK_PAUSE_SECONDS)
        return leader

    async def _stock(self) -> None:
        async with connect(self._gateway) as client:
            await client.set_stock(self._script.sku, self._script.stock)

    async def _load(self) -> None:
        plan, report = self._script.plan, LoadReport()
        rate = f"{plan.rate_per_second:.0f} a second" if plan.rate_per_second else "as fast as they go"
        self._note(f"{plan.orders:,} orders, {rate}, for {self._script.stock:,} pieces of {self._script.sku}")

        def advanced() -> None:
            if report.acknowledged > len(self.chronicle.acknowledged):
                self.chronicle.acknowledged.append(self.now)

        with LedgerWriter(self._ledger) as ledger:
            async with connect(self._gateway, connections=plan.concurrency) as client:
                await run_load(client, plan, ledger, report, advanced)
        self.chronicle.load_ended_at = self.now
        refused = f", {report.refused:,} refused" if report.refused else ""
        self._note(f"every order has its answer: {report.acknowledged:,} accepted{refused}")

    async def _kill(self, leader: str) -> None:
        self.chronicle.killed_at = self.now
        self._note(f"SIGKILL {leader}, which leads {ORDER_PROCESSOR.queue}")
        await asyncio.to_thread(self._system.kill, leader)
        self.chronicle.nodes[leader] = False

    async def _start(self, leader: str) -> None:
        self.chronicle.started_at = self.now
        self._note(f"{leader} is started again")
        await asyncio.to_thread(self._system.start, leader)

    async def _settle(self, leader: str) -> None:
        """Until the broker serves, and everything accepted is decided and told."""
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        while not self._is_settled() or not self.chronicle.nodes.get(leader):
            if time.monotonic() > deadline:
                self._note(f"not settled within {SETTLED_WITHIN_SECONDS:.0f} s; the proof says what is left")
                return
            await asyncio.sleep(SAMPLE_PAUSE_SECONDS)

    def _is_settled(self) -> bool:
        latest, ended_at = self.chronicle.latest, self.chronicle.load_ended_at
        if ended_at is None or latest.at < ended_at or latest.waiting or latest.outbox:
            return False
        if min(latest.decided, latest.told) < len(self.chronicle.acknowledged):
            return False
        if self.chronicle.settled_at is None:
            self.chronicle.settled_at = latest.at
            self._note("all of them are decided, and all customers told")
        return True

    def _note(self, text: str) -> None:
        self.chronicle.moments.append(Moment(at=self.now, text=text))

    # --- looking on --------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _watched(self, redis: Redis) -> AsyncIterator[None]:
        """Samples the store and the brokers while the block runs, which is when the clock starts."""
        try:
            before = await self._figures(redis)
        except StoreUnavailable as error:
            raise OrderctlError(f"the store cannot be read: {error}", advice="orderctl status") from error
        self._began = time.monotonic()
        async with running(self._sample(redis, before), self._look_at_brokers()):
            yield

    async def _sample(self, redis: Redis, before: Sample) -> None:
        while True:
            with suppress(StoreUnavailable):  # the picture then shows what was known last
                seen = await self._figures(redis)
                decided, told = seen.decided - before.decided, seen.told - before.told
                self.chronicle.samples.append(replace(seen, decided=decided, told=told))
            await asyncio.sleep(SAMPLE_PAUSE_SECONDS)

    async def _figures(self, redis: Any) -> Sample:
        async with store_deadline(STORE_SECONDS), redis.pipeline(transaction=False) as pipeline:
            pipeline.get(keyspace.PROCESSED_COUNT)
            pipeline.hget(keyspace.NOTIFICATION_COUNTS, NotificationStatus.SENT)
            pipeline.zcard(keyspace.orders_in(OrderStatus.ACCEPTED))
            pipeline.zcard(keyspace.OUTBOX)
            decided, told, accepted, outbox = await pipeline.execute()
        return Sample(
            at=self.now,
            decided=int(decided or 0),
            told=int(told or 0),
            waiting=int(accepted),
            outbox=int(outbox),
        )

    async def _look_at_brokers(self) -> None:
        while True:
            status = await asyncio.to_thread(self._system.status)
            for node in status.rabbitmq:
                self.chronicle.nodes[node.node] = node.running
                is_back = node.running and node.node == self.chronicle.leader and self.chronicle.started_at
                if is_back and self.chronicle.back_at is None:
                    self.chronicle.back_at = self.now
                    self._note(f"{node.node} serves again")
            await asyncio.sleep(LOOK_PAUSE_SECONDS)
