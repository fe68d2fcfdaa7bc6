"""Collecting evidence for the oracle from a pipeline under test, straight from the store and the log."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

from redis.asyncio import Redis

from orderctl.money import Paying, PriceEvidence
from orderctl.oracle import Evidence, OrderState, StockState, Verdict, judge
from shared import keyspace
from shared.orders.records import read_record
from shared.orders.redis.reading import Unfinished, count_unfinished
from tests.harness.client import Books
from tests.harness.running import Pipeline, SystemUnderLoad
from tests.harness.waiting import wait_until


def store_of(system: SystemUnderLoad) -> Any:
    """A client for the system's store, typed loosely: the library's types say bytes or text everywhere."""
    return Redis.from_url(system.redis_url, decode_responses=True)


async def wait_until_settled(system: SystemUnderLoad, *, timeout_seconds: float = 90.0) -> None:
    """Waits until every order is decided and told, and the outbox is empty."""
    async with store_of(system) as redis:
        left: Unfinished | None = None

        async def settled() -> bool:
            nonlocal left
            left = await count_unfinished(redis)
            return not left

        await wait_until(settled, timeout_seconds=timeout_seconds, what=lambda: f"settled; left: {left}")


async def verdict_on(
    pipeline: Pipeline,
    books: Books,
    prefix: str,
    *,
    mailed: Mapping[str, int] | None = None,
    notifier_deaths: int = 0,
) -> Verdict:
    """The oracle's verdict on the orders whose ids begin with ``prefix``; their SKUs begin with it too.

    ``mailed`` is what arrived at a mail server, by event id; the notifier's log counts where there is none.
    """
    async with store_of(pipeline) as redis:
        orders = [
            state
            async for key in redis.scan_iter(match=f"{keyspace.order(prefix)}*", count=1000)
            if (state := await _state(redis, await redis.hgetall(key)))
        ]
        reserved = await redis.hgetall(keyspace.RESERVED)
        supplied = await redis.hgetall(keyspace.SUPPLIED)
        available = {
            keyspace.sku_of(key): int(await redis.get(key) or 0)
            async for key in redis.scan_iter(match=f"{keyspace.inventory(prefix)}*", count=1000)
        }
        decided = int(await redis.get(keyspace.PROCESSED_COUNT) or 0)
        releases = int(await redis.get(keyspace.RELEASES) or 0)
    log = pipeline.cluster.layout.log("notifier")
    if mailed is None:
        notified: Mapping[str, Mapping[str, int]] = {"log": notifications_in_log(log)}
    else:
        notified = {"smtp": mailed}
    stock = StockState(
        decided=decided,
        releases=releases,
        available=available,
        reserved={sku: int(qty) for sku, qty in reserved.items() if sku.startswith(prefix)},
        supplied={sku: int(qty) for sku, qty in supplied.items() if sku.startswith(prefix)},
    )
    return judge(
        Evidence(
            attempted=books.attempted,
            acknowledged=books.acknowledged,
            orders=orders,
            stock=stock,
            notified=notified,
            notifier_deaths=notifier_deaths,
            prices=PriceEvidence(
                promised=books.costs, letters=totals_in_log(log, prefix) if mailed is None else {}
            ),
        )
    )


def totals_in_log(log: Path, prefix: str) -> Mapping[str, Collection[str]]:
    """What was named as the total of each order whose id begins with ``prefix``, by event id; '' for none."""
    totals: defaultdict[str, set[str]] = defaultdict(set)
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if f'"notification_id":"{prefix}' in line.replace('": "', '":"'):
                told = json.loads(line)
                totals[told["notification_id"]].add(total_in(told["text"]))
    return totals


def total_in(text: str) -> str:
    """What a customer is told that an order costs; '' for nothing."""
    return text.partition("\n  Total: ")[2].partition("\n")[0].rstrip("\r")  # letters have CRLF


def notifications_in_log(log: Path) -> Counter[str]:
    """How often each event's notification was written, by event id: the receiving end of the log sender."""
    with closing(FollowedLog(log)) as followed:
        followed.read()
    return followed.told


class FollowedLog:
    """The notifier's log as it grows. Read it more often than it is rotated, and nothing is missed."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._lines: TextIO | None = None
        self._begun = ""
        self.told: Counter[str] = Counter()
        self.totals: dict[str, str] = {}

    def read(self) -> None:
        """Counts what was written since the last time, in what was rotated away too."""
        if self._lines is None:
            if not self._log.exists():
                return
            self._lines = self._log.open(encoding="utf-8", errors="replace")
        is_rotated = self._log.exists() and not os.path.samestat(
            os.fstat(self._lines.fileno()), self._log.stat()
        )
        self._count(self._lines)
        if is_rotated:  # before it was read to its end: nothing writes to it any more
            self.close()
            self.read()

    def close(self) -> None:
        """Lets go of the file."""
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def _count(self, lines: TextIO) -> None:
        for piece in lines:
            line = self._begun + piece
            self._begun = "" if line.endswith("\n") else line
            if not self._begun and '"notification_id"' in line:
                told = json.loads(line)
                self.told[told["notification_id"]] += 1
                self.totals[told["notification_id"]] = total_in(told["text"])


async def _state(redis: Any, fields: dict[str, str]) -> OrderState | None:
    if not fields:
        return None
    record = read_record(fields)
    paying = None
    if record.payment is not None:
        money = await redis.hmget(keyspace.provider(record.order.id), "taken", "returned")
        due = await redis.zscore(keyspace.PAYMENTS_DUE, record.order.id)
        taken, returned = (int(times or 0) for times in money)
        paying = Paying(payment=record.payment, taken=taken, returned=returned, is_due=due is not None)
    return OrderState(
        order=record.order,
        status=record.status,
        outcome=record.outcome,
        trouble=record.trouble,
        sequence=record.sequence,
        released=record.released,
        prices=record.prices,
        paying=paying,
    )
