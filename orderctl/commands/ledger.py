"""`orderctl ledger`: how far the SQL ledger is, and building it anew."""

import asyncio
from typing import TYPE_CHECKING, Any, Final

import typer

from orderctl.commands.options import AsJson, DataDir
from orderctl.errors import OrderctlError
from orderctl.modes import current_system
from orderctl.native.ports import REDIS
from orderctl.system import System
from orderctl.terminal import print_json, readable_errors, say

if TYPE_CHECKING:
    from ledger.store import LedgerStore

app = typer.Typer(add_completion=False, help="Every order and its steps, in SQL.", no_args_is_help=True)

SECONDS: Final = 10.0


@app.command()
def status(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """How many orders and steps it has, and how far behind the log of steps it is."""
    from shared.orders.redis.log import START, LogPosition, OrderLog
    from shared.redis.client import open_redis

    with readable_errors():
        system = current_system(data_dir)
        store_url = system.url(REDIS)

        async def asked(ledger: "LedgerStore") -> dict[str, Any]:
            position = await ledger.position()
            orders, steps = await ledger.counts()
            async with open_redis(store_url, timeout_seconds=SECONDS, max_connections=1) as redis:
                since = position if position.is_known else LogPosition(log_id=START)
                lag = await OrderLog(redis, timeout_seconds=SECONDS).lag(since)
            return {
                "orders": orders,
                "steps": steps,
                "position": position.log_id,
                "entries_behind": lag.entries,
                "seconds_behind": round(lag.seconds, 3),
            }

        found = asyncio.run(_with_ledger(system, asked))
        if as_json:
            print_json(found)
            return
        for name, value in found.items():
            say(f"{name.replace('_', ' '):<15} {value}")


@app.command()
def rebuild(data_dir: DataDir = None) -> None:
    """Have every order that Redis has written anew, while orders flow; what is older stays."""
    with readable_errors():

        async def forget(ledger: "LedgerStore") -> None:
            await ledger.forget_position()

        asyncio.run(_with_ledger(current_system(data_dir), forget))
        say("the ledger reads everything anew; orderctl ledger status says when it is done")


async def _with_ledger(system: System, use: Any) -> Any:
    from ledger.store import LedgerStore
    from shared.errors import DatabaseUnavailable, StoreUnavailable
    from shared.sql.database import open_database
    from shared.sql.migrations import migrations_of

    url = system.database_url("ledger")
    async with open_database(url, migrations_of("ledger"), timeout_seconds=SECONDS) as database:
        try:
            return await use(LedgerStore(database))
        except (DatabaseUnavailable, StoreUnavailable) as error:
            raise OrderctlError(f"the ledger cannot be read: {error}", advice="orderctl status") from error
