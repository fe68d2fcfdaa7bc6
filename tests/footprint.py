"""What an order leaves behind, for ``docs/scale.md``: ``python -m tests.footprint``, half a minute.

Orders of one item go through the real scripts into a Redis, and a ledger follows them into PostgreSQL; both
are set up as ``orderctl`` does, in folders of their own. What has grown is divided by their number.
"""

import asyncio
from typing import Any, Final

from rich.console import Console

from ledger.schema import ORDERS
from shared import keyspace
from shared.messages import Order, OrderItem
from shared.redis.client import Redis, open_redis
from shared.redis.rights import OPERATOR
from shared.sql.database import open_database
from shared.sql.migrations import migrations_of
from tests.harness.databases import PostgresServer, postgres_server
from tests.harness.gateway import a_placement
from tests.harness.ledger import SECONDS, Trial
from tests.harness.shop import Shop
from tests.harness.stores import RedisServer, native_redis_server

COUNT, TOGETHER, CUSTOMERS = 4_000, 100, 500
DATABASE: Final = "footprint"
TABLES: Final = """
select sum(pg_total_relation_size(oid)) from pg_class
where relkind = 'r' and relnamespace = 'public'::regnamespace
"""
SAY: Final = Console(highlight=False, soft_wrap=True).print


async def measure(server: RedisServer, postgres: PostgresServer) -> None:
    """Prints a line for bare orders and one for those with all that an order may have, then the ledger's."""
    async with open_redis(server.login_url(OPERATOR), timeout_seconds=SECONDS, max_connections=20) as redis:
        await redis.set(keyspace.inventory("cable"), 10 * COUNT)
        await place(redis, "warm", COUNT // 10, is_full=False)
        before = await facts(redis)
        await place(redis, "bare", COUNT, is_full=False)
        between = await facts(redis)
        product: Any = {"unit_amount": "700", "currency": "EUR", "name": "A cable of two metres"}
        await redis.hset(keyspace.product("cable"), mapping=product)
        await place(redis, "full", COUNT, is_full=True)
        after = await facts(redis)
        for name, old, new in (("bare", before, between), ("full", between, after)):
            memory, written, entries = ((now - then) / COUNT for then, now in zip(old, new, strict=True))
            SAY(f"{name}: {memory:.0f} bytes of memory, {written:.0f} of the file, {entries} log entries")
        SAY(f"an entry of the log: {int(await redis.memory_usage(keyspace.LOG) or 0) / after[2]:.0f} bytes")
        await follow(redis, postgres)


async def place(redis: Redis, name: str, count: int, *, is_full: bool) -> None:
    """Orders that are accepted, decided and told."""
    shop = Shop(redis, retention_seconds=86_400.0)
    for first in range(0, count, TOGETHER):
        orders = [
            Order(
                id=f"01999999-7777-7000-{name}-{number:012}",
                items=(OrderItem(sku="cable", qty=1),),
                email=f"customer-{number % CUSTOMERS}@example.com" if is_full else None,
            )
            for number in range(first, first + TOGETHER)
        ]
        placements = [
            a_placement(
                order,
                key=f"key-{order.id}" if is_full else None,
                customer=f"customer-{number % CUSTOMERS}" if is_full else None,
            )
            for number, order in enumerate(orders, first)
        ]
        await asyncio.gather(*map(shop.orders.accept, placements))
        await redis.zrem(keyspace.OUTBOX, *(order.id for order in orders))
        await shop.decide(*orders)


async def facts(redis: Any) -> tuple[int, int, int]:
    """Bytes of memory, bytes of the append-only file, and entries of the log."""
    memory, persistence = await redis.info("memory"), await redis.info("persistence")
    return memory["used_memory"], persistence["aof_current_size"], await redis.xlen(keyspace.LOG)


async def follow(redis: Redis, postgres: PostgresServer) -> None:
    """All of them, in an empty ledger."""
    url = postgres.new_database(DATABASE)
    async with open_database(url, migrations_of("ledger"), timeout_seconds=SECONDS) as database:
        await database.look()
        trial = Trial(redis, database)
        empty = int(postgres.ask(DATABASE, TABLES))
        await trial.follower.follow()
        orders, steps = await trial.store.counts()
        grown = (int(postgres.ask(DATABASE, TABLES)) - empty) / orders
        SAY(f"{ORDERS.name}: {orders:,}, {steps / orders} steps and {grown:.0f} bytes each, indexes included")


if __name__ == "__main__":
    with native_redis_server() as server, postgres_server() as postgres:
        asyncio.run(measure(server, postgres))
