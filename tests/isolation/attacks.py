"""What one client can do to a gateway by asking alone, each for as long as it is let."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from shared import keyspace
from shared.redis.client import Redis

ATTACKER: Final = "127.0.0.2"
AT_ONCE: Final = 64
LISTS_AT_ONCE: Final = 500
CONNECTIONS: Final = 2_048
SKUS: Final = 80_000
LONG_ORDERS: Final = 200
_JSON: Final = {"Content-Type": "application/json"}

Ask = Callable[[ClientSession, str], Awaitable[None]]


def long_order(order_id: str) -> str:
    """An order of 100 items with SKUs as long as they may be."""
    items = [{"sku": f"{'s' * 61}{number:03}", "qty": 1} for number in range(100)]
    return json.dumps({"id": order_id, "items": items})


async def silent_connections(port: int) -> None:
    """Opens as many connections as the gateway has, says nothing, and opens those anew that are closed."""

    async def connect() -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(ATTACKER, 0))
                await reader.read()
                writer.close()
            await asyncio.sleep(0.1)

    await asyncio.gather(*(connect() for _ in range(CONNECTIONS)))


async def large_bodies(port: int) -> None:
    """Posts 64 kB of unknown fields."""
    body = "{" + ",".join(f'"{number}":1' for number in range(6_500)) + "}"

    async def post(session: ClientSession, _: str) -> None:
        async with session.post("/orders", data=body, headers=_JSON) as answer:
            await answer.read()

    await _repeat(port, AT_ONCE, post)


async def lists_of_long_orders(port: int) -> None:
    """Lists as many orders of 100 items as a page may have."""
    await _repeat(port, LISTS_AT_ONCE, _get("/orders?limit=200"))


async def lists_of_stock(port: int) -> None:
    """Lists stock while there are very many SKUs."""
    await _repeat(port, AT_ONCE, _get("/inventory?limit=200"))


async def long_orders(port: int) -> None:
    """Places orders of 100 items as fast as they go."""

    async def post(session: ClientSession, name: str) -> None:
        async with session.post("/orders", data=long_order(f"long{name}"), headers=_JSON) as answer:
            await answer.read()

    await _repeat(port, AT_ONCE, post)


ATTACKS: Final[Mapping[str, Callable[[int], Coroutine[Any, Any, None]]]] = {
    "silent-connections": silent_connections,
    "large-bodies": large_bodies,
    "lists-of-long-orders": lists_of_long_orders,
    "lists-of-stock": lists_of_stock,
    "long-orders": long_orders,
}


async def fill(redis: Redis) -> None:
    """What the lists are to show: 80,000 SKUs."""
    for begin in range(0, SKUS, 1_000):
        skus = [f"x{number:05}" for number in range(begin, begin + 1_000)]
        await redis.mset({keyspace.inventory(sku): 1 for sku in skus})
        await redis.zadd(keyspace.SKU_INDEX, dict.fromkeys(skus, 0))


async def place_long_orders(port: int) -> None:
    """What the lists are to show: 200 orders of 100 items."""
    async with ClientSession(f"http://127.0.0.1:{port}") as session:
        for number in range(LONG_ORDERS):
            async with session.post("/orders", data=long_order(f"listed{number}"), headers=_JSON) as answer:
                assert answer.status in (202, 409), await answer.text()


def _get(path: str) -> Ask:
    async def get(session: ClientSession, _: str) -> None:
        async with session.get(path) as answer:
            await answer.read()

    return get


async def _repeat(port: int, at_once: int, ask: Ask) -> None:
    connector = TCPConnector(local_addr=(ATTACKER, 0), limit=at_once)
    timeout = ClientTimeout(total=30)
    async with ClientSession(f"http://127.0.0.1:{port}", connector=connector, timeout=timeout) as session:

        async def one(worker: int) -> None:
            number = 0
            while True:
                number += 1
                with suppress(ClientError, TimeoutError, OSError):
                    await ask(session, f"{worker}-{number}")
                await asyncio.sleep(0)

        await asyncio.gather(*map(one, range(at_once)))
