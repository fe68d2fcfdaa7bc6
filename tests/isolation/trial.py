"""A gateway with a Redis of its own, and the client that suffers."""

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import psutil
from aiohttp import ClientSession, ClientTimeout, TCPConnector

from shared import keyspace
from shared.redis.client import Redis, open_redis
from tests.harness.stores import free_port, native_redis_server
from tests.harness.waiting import wait_until

VICTIM: Final = "127.0.0.3"
PER_SECOND: Final = 20
SETTLE_SECONDS: Final = 6.0
LONGEST_SECONDS: Final = 1.0
MOST_GROWTH: Final = 1.5
STORE_MEMORY: Final = "120mb"
_NO_BROKER: Final = "amqp://guest:guest@127.0.0.1:9/,amqp://guest:guest@127.0.0.1:10/"


@dataclass(slots=True)
class Suffered:
    """What the victim saw, and how the gateway grew: resident bytes before, and the most while it lasted."""

    seconds: list[float] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    before: int = 0
    most: int = 0

    @property
    def p99(self) -> float:
        """The 99th percentile of the time to an answer."""
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]

    def faults(self, longest_seconds: float = LONGEST_SECONDS) -> list[str]:
        """What one client must not do to another."""
        found = []
        if set(self.answers) != {202}:
            found.append(f"answers {dict(self.answers)}")
        if self.p99 >= longest_seconds:
            found.append(f"p99 {self.p99:.2f} s")
        if self.most > MOST_GROWTH * self.before:
            found.append(f"the gateway grew {self.most / self.before:.2f} times")
        return found

    def __str__(self) -> str:
        worst, growth = max(self.seconds), self.most / self.before
        return f"{len(self.seconds)} orders, p99 {self.p99:.3f} s, max {worst:.3f} s, memory × {growth:.2f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A gateway that runs as a process of its own, without a broker: orders wait in the outbox."""

    port: int
    redis: Redis
    process: psutil.Process

    async def settle(self) -> None:
        """Waits until the gateway has grown to what it needs by itself, as it looks for a broker."""
        await self._place_orders("calm", SETTLE_SECONDS, Suffered())

    async def suffer(self, attack: str, seconds: float) -> Suffered:
        """Places small orders at a steady rate while another process attacks."""
        suffered = Suffered(before=self.process.memory_info().rss)
        attacker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.isolation", "--attack", attack, "--port", str(self.port)
        )
        try:
            await self._place_orders(attack, seconds, suffered)
            assert attacker.returncode is None, "the attacker ended before its time"
        finally:
            with suppress(ProcessLookupError):
                attacker.terminate()
            await attacker.wait()
        return suffered

    async def _place_orders(self, name: str, seconds: float, suffered: Suffered) -> None:
        connector = TCPConnector(local_addr=(VICTIM, 0), limit=0)
        timeout = ClientTimeout(total=10)
        base = f"http://127.0.0.1:{self.port}"
        async with (
            ClientSession(base, connector=connector, timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            begin = time.monotonic()
            for number in range(round(seconds * PER_SECOND)):
                await asyncio.sleep(begin + number / PER_SECOND - time.monotonic())
                group.create_task(self._place(session, f"{name}-{time.time_ns()}", suffered))

    async def _place(self, session: ClientSession, order_id: str, suffered: Suffered) -> None:
        began = time.monotonic()
        status = 0
        with suppress(TimeoutError, OSError):
            async with session.post("/orders", json={"id": order_id, "sku": "cable", "qty": 1}) as answer:
                status = answer.status
        suffered.seconds.append(time.monotonic() - began)
        suffered.answers[status] += 1
        suffered.most = max(suffered.most, self.process.memory_info().rss)


@asynccontextmanager
async def trial() -> AsyncIterator[Trial]:
    """A gateway and its Redis, which end with the block."""
    with native_redis_server() as server:
        async with open_redis(server.url, timeout_seconds=5.0, max_connections=4) as redis:
            await redis.set(keyspace.TOPOLOGY_DECLARED, "1")
            await redis.config_set("maxmemory", STORE_MEMORY)
            port = free_port()
            environment = os.environ | {
                "REDIS_URL": server.url,
                "RABBITMQ_URLS": _NO_BROKER,
                "GATEWAY_PORT": str(port),
                "GATEWAY_OPS_PORT": str(free_port()),
                "LOG_LEVEL": "ERROR",
            }
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "api_gateway", env=environment
            )
            try:
                await wait_until(lambda: _listens(port))
                yield Trial(port=port, redis=redis, process=psutil.Process(process.pid))
            finally:
                with suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
