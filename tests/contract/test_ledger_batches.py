"""What a batch costs the database depends on the batch, and not on how much is there."""

from collections.abc import Sequence
from typing import Final

from ledger.store import Batch, LedgerStore
from shared.orders.redis.log import LogEntry
from shared.sql.database import open_database
from shared.sql.migrations import migrations_of
from tests.harness.databases import PostgresServer
from tests.harness.ledger import AT, SECONDS, a_record, keep
from tests.harness.waiting import wait_until

BATCHES: Final = 12
"""PostgreSQL settles for a plan after five runs of a statement."""
ORDERS: Final = 50
READ: Final = "SELECT {} FROM pg_stat_user_tables WHERE relname IN ('orders', 'order_lines', 'order_events')"


def decisions(order_ids: Sequence[str]) -> Sequence[LogEntry]:
    """The entries that say that these were created."""
    return [
        LogEntry(id="1-1", order_id=order_id, n=2, type="created", at=AT + 1, reason="", by="order_processor")
        for order_id in order_ids
    ]


async def test_no_batch_reads_a_whole_table(postgres: PostgresServer) -> None:
    """New orders, the same ones again, and steps of them, in a database that was never analyzed."""
    url = postgres.new_database("batches")
    async with open_database(url, migrations_of("ledger"), timeout_seconds=SECONDS) as database:
        await database.look()
        store = LedgerStore(database)
        for batch in range(BATCHES):
            records = [a_record(f"o{batch}-{n}", amounts={"cable": 3}) for n in range(ORDERS)]
            await keep(store, *records)
            await keep(store, *records)
            position, steps = await store.position(), decisions([record.order.id for record in records])
            assert await store.write(Batch(steps=steps, decisions=steps), since=position, until=position)

    def counted(column: str) -> int:
        return int(postgres.ask("batches", READ.format(f"sum({column})")))

    await wait_until(lambda: counted("n_tup_upd") >= BATCHES * ORDERS)  # told once its sessions have ended
    assert counted("seq_tup_read") < BATCHES * ORDERS
