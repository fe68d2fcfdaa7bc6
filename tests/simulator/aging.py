"""A month later: the sweep removes what is decided, dying and losing its connection on the way."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from orderctl.oracle import Evidence, StockState, judge
from orderctl.verification.snapshot import archived_orders
from shared import keyspace
from shared.orders.redis.sweep import UNDECIDED, Sweep
from shared.redis.lease import Lease
from shared.service.lifecycle import running
from tests.simulator.judging import Scene, read_orders, sightings, stock_of
from tests.simulator.processes import Process, Trap
from tests.simulator.services import DAY_SECONDS, RETENTION_DAYS, STORE_SECONDS, Surroundings
from tests.simulator.supervision import Supervisor
from tests.simulator.weather import Odds

ROUNDS: Final = 4
ROUND_SECONDS: Final = 100.0
"""Longer than the sweep's lease and its pause together."""
ROUGH: Final = Odds(store_cut=0.15, store_late=0.1, interleaved=0.3, slow=0.2)


class Sweeper:
    """The order processor, as far as it removes old orders."""

    def __init__(self, around: Surroundings, _: Process, __: random.Random) -> None:
        redis = around.store.client()
        self._sweep = Sweep(
            redis,
            timeout_seconds=STORE_SECONDS,
            retention_seconds=RETENTION_DAYS * DAY_SECONDS,
            lease=Lease(redis, keyspace.SWEEP_LEASE, timeout_seconds=STORE_SECONDS),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """See Service."""
        async with running(self._sweep.run()):
            await stop.wait()


async def sweep_all(around: Surroundings, supervisor: Supervisor, dice: random.Random) -> None:
    """Lets the retention pass and the sweep do its work; the last round goes undisturbed."""
    await asyncio.sleep((RETENTION_DAYS + 1) * DAY_SECONDS)
    around.weather.come_back(ROUGH)
    supervisor.employ("sweeper", Sweeper, 2)
    for _ in range(ROUNDS):
        await asyncio.sleep(ROUND_SECONDS * dice.random())
        for place in supervisor.places:
            place.process.trap = Trap(request=keyspace.order(""), steps=dice.randint(1, 12))
        await asyncio.sleep(ROUND_SECONDS)
    for place in supervisor.places:
        place.process.dies_after = place.process.trap = None
    around.weather.clear_up()
    await asyncio.sleep(2 * ROUND_SECONDS)


def faults_after_sweep(scene: Scene, before: StockState) -> Iterator[str]:
    """What the sweep removed that it should not have, or the other way round, and sums that do not add up."""
    server = scene.around.store.server
    records = read_orders(server)
    archive = server.carry_out("HGETALL", keyspace.ARCHIVE)
    archived = {key.removeprefix("sku:"): int(n) for key, n in archive.items() if key.startswith("sku:")}
    counts, undecided = archived_orders(archive), int(archive.get(UNDECIDED, 0))
    stock = stock_of(scene, archived=archived, archived_orders=counts, archived_undecided=undecided)
    verdict = judge(
        Evidence(stock=stock, orders=sightings(server, records, scene.around.bank), is_whole=True)
    )
    for kind, offenders in verdict.faults().items():
        for who in offenders:
            yield f"after the sweep: {kind}: {who}: {verdict.why.get(who, '')}"
    kept = [order_id for order_id, found in records.items() if getattr(found, "ended_at", None)]
    if kept:
        yield f"after the sweep {kept} are kept, which had come to their end"
    if replace(stock, archived={}, archived_orders=0, archived_undecided=0) != before:
        yield f"the sweep has changed the stock: {before} before, {stock} after"
