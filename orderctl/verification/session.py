"""A verification of a running system, from its addresses to its outcome."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from redis.exceptions import RedisError

from ledger.store import LedgerStore
from orderctl.brokers import messages_in
from orderctl.errors import OrderctlError
from orderctl.verification.following import wait_for_follower
from orderctl.verification.ledger import LedgerAudit
from orderctl.verification.promises import Promises
from orderctl.verification.reading import RecordReader
from orderctl.verification.republishing import Republisher
from orderctl.verification.snapshot import SnapshotReader
from orderctl.verification.verification import Patience, Reconciliation, Stage, Verification
from shared import keyspace
from shared.errors import DatabaseUnavailable, StoreUnavailable
from shared.orders.position import read_position
from shared.orders.redis.log import OrderLog
from shared.pipeline import ORDER_PROCESSOR
from shared.redis.client import Redis, open_redis
from shared.redis.lease import Lease
from shared.settings import CommonSettings, load
from shared.sql.database import open_database
from shared.sql.migrations import migrations_of
from webhooks.log import DeliveryLog
from webhooks.settings import SHORTEST_RETENTION_SECONDS

STORE_SECONDS: Final = 10.0
CONNECTIONS: Final = 4


class StoreAwayError(OrderctlError):
    """Raised when there is nothing to judge, because the store does not answer."""


async def verify(
    redis_url: str,
    promises: Promises,
    *,
    management_urls: Sequence[str] = (),
    ledger_url: str | None = None,
    webhooks_url: str | None = None,
    republish: bool = False,
    patience: Patience | None = None,
    progress: Callable[[Stage], None] = lambda stage: None,
) -> Reconciliation:
    """Reconciles the system behind this store, with its databases that are named. Raises StoreAwayError.

    How long orders are kept is the processor's word, and a setting only where none has said so.
    """

    began = time.monotonic()

    async def dead_letters() -> int | None:
        return await messages_in(management_urls, ORDER_PROCESSOR.dead_queue) if management_urls else None

    async with open_redis(redis_url, timeout_seconds=STORE_SECONDS, max_connections=CONNECTIONS) as redis:
        healer = Republisher(redis, timeout_seconds=STORE_SECONDS, dead_letters=dead_letters)
        snapshots = SnapshotReader(redis, timeout_seconds=STORE_SECONDS)
        try:
            retention = (await snapshots.kept()).seconds or load(CommonSettings).order_retention_seconds
            verification = Verification(
                snapshots=snapshots,
                reader=RecordReader(redis, timeout_seconds=STORE_SECONDS, retention_seconds=retention),
                sweep_lease=Lease(redis, keyspace.SWEEP_LEASE, timeout_seconds=STORE_SECONDS),
                patience=patience or Patience(),
                progress=progress,
            )
            outcome = await verification.run(promises, healer if republish else None)
            if ledger_url is not None:
                await _compare(redis, ledger_url, outcome, patience or Patience())
            if webhooks_url is not None:
                await _count_webhooks(redis, webhooks_url, outcome, patience or Patience())
            return replace(outcome, seconds=time.monotonic() - began)
        except (StoreUnavailable, RedisError) as error:
            raise StoreAwayError(f"the store cannot be read: {error}", advice="orderctl status") from error


async def _compare(redis: Redis, ledger_url: str, outcome: Reconciliation, patience: Patience) -> None:
    async with open_database(ledger_url, migrations_of("ledger"), timeout_seconds=STORE_SECONDS) as database:
        audit = LedgerAudit(redis, LedgerStore(database), timeout_seconds=STORE_SECONDS, patience=patience)
        await audit.run(outcome.verdict)


async def _count_webhooks(
    redis: Redis, webhooks_url: str, outcome: Reconciliation, patience: Patience
) -> None:
    """Blames the service where it does not follow the log of steps, and each webhook whose deliveries lack a
    number, by which receivers tell that they have all.
    """
    async with open_database(
        webhooks_url, migrations_of("webhooks"), timeout_seconds=STORE_SECONDS
    ) as database:
        log = DeliveryLog(
            database, lambda: time.time_ns() // 1_000, retention_seconds=SHORTEST_RETENTION_SECONDS
        )
        steps = OrderLog(redis, timeout_seconds=STORE_SECONDS)
        try:
            await wait_for_follower(steps, lambda: database.transaction(read_position), patience)
            for endpoint_id in await log.gaps():
                outcome.verdict.blame("unrecorded", f"webhook {endpoint_id}", "lacks a number")
        except (DatabaseUnavailable, TimeoutError) as error:
            outcome.verdict.blame("unrecorded", "webhooks", str(error))
