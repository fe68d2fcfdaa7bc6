"""``python -m tests.chaos --seed 7 --faults 40``: faults under load, and the verdict.

The same seed draws the same schedule; moments differ, as processes do.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
from redis.exceptions import RedisError

from shared import keyspace
from tests.chaos.faults import FAULTS, drawn
from tests.chaos.report import Overload, Report, Seen
from tests.harness.brokers import delay
from tests.harness.client import GatewayClient, gateway_client
from tests.harness.evidence import store_of, verdict_on, wait_until_settled
from tests.harness.native_cluster import native_cluster
from tests.harness.running import Pipeline
from tests.harness.smtp_sink import LOOPBACK, SmtpSink, smtp_sink
from tests.harness.trial import longest_gap
from tests.harness.waiting import wait_until

SAMPLE_SECONDS = 0.05
FLOWING_SECONDS = 60.0
CALM_SECONDS = 1.0
SKUS = 5
BURST = 2_000
CUSTOMER = "customer@shop.example"
DEATHS = ("leader killed", "redis killed", "service killed", "service crashed")


class Run:
    """One chaos run: a steady load, and faults one after the other."""

    def __init__(
        self, pipeline: Pipeline, client: GatewayClient, sink: SmtpSink, *, seed: int, rate: float
    ) -> None:
        self.pipeline = pipeline
        self.client = client
        self.sink = sink
        self.random = random.Random(seed)
        self.report = Report(seed=seed)
        self.prefix = f"chaos{seed}x{time.time_ns()}-"
        self.decided_at: list[float] = []
        self._rate = rate
        self._began = asyncio.get_running_loop().time()

    async def load(self, stop: asyncio.Event) -> None:
        """Places orders at a steady rate, each until its fate is known, whatever is broken."""
        number = 0
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                order = self._order(number)
                group.create_task(self.client.place_until_known(order, timeout_seconds=180))
                number += 1
                await delay(1 / self._rate)
        self.report.orders += number

    async def sample_decisions(self, stop: asyncio.Event) -> None:
        """Notes when decisions happen; the store being away is no decision.

        It is told to stop and not cancelled, since redis-py may swallow a cancellation.
        """
        async with store_of(self.pipeline) as redis:
            before = 0
            while not stop.is_set():
                try:
                    count = int(await redis.get(keyspace.PROCESSED_COUNT) or 0)
                except (RedisError, OSError):
                    count = before
                if count > before:
                    self.decided_at.append(asyncio.get_running_loop().time())
                before = count
                await delay(SAMPLE_SECONDS)

    async def suffer(self, name: str) -> None:
        """Injects one fault, mends it, and waits until orders are decided again."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        detail = await FAULTS[name](self.pipeline, self.random)
        mended = loop.time()
        await wait_until(
            lambda: bool(self.decided_at) and self.decided_at[-1] > mended,
            timeout_seconds=FLOWING_SECONDS,
            what=f"decisions after {name}",
        )
        flowing = loop.time()
        self.report.notifier_deaths += name in DEATHS and detail.startswith("notifier")
        self.report.kills += len(detail.split(", ")) if name == "brokers killed" else name in DEATHS
        self.report.seen.append(
            Seen(
                fault=name,
                detail=detail,
                at=began - self._began,
                broken=mended - began,
                answer_gap=_gap_within(self.client.books.acknowledged_at, began, flowing),
                decision_gap=_gap_within(self.decided_at, began, flowing),
                recovery=flowing - mended,
            )
        )
        sys.stdout.write(
            f"{began - self._began:6.0f} s  {name}: {detail}, back after {flowing - mended:.2f} s\n"
        )
        await delay(CALM_SECONDS)

    async def overload(self) -> None:
        """Asks for far more at once than the gateway takes; those turned away ask again until they are in."""
        process = psutil.Process(self.pipeline.services.pid("api_gateway"))
        before = process.memory_info().rss
        orders = [self._order(f"burst{number}") for number in range(BURST)]
        answers = await asyncio.gather(*(self.client.place(order) for order in orders))
        refused = [answer.seconds for answer in answers if answer.status == 503]
        await self.client.place_many(orders, 50)
        self.report.orders += BURST
        self.report.overload = Overload(
            requests=BURST,
            refused=len(refused),
            refused_median=statistics.median(refused or [0.0]),
            refused_worst=max(refused, default=0.0),
            rss_before=before,
            rss_after=process.memory_info().rss,
        )

    def _order(self, number: int | str) -> Mapping[str, Any]:
        sku = f"{self.prefix}{self.random.randrange(SKUS)}"
        return {"id": f"{self.prefix}{number}", "sku": sku, "qty": 1, "email": CUSTOMER}

    async def judge(self) -> Report:
        """Waits until everything is settled, and writes down what the oracle says."""
        await wait_until_settled(self.pipeline, timeout_seconds=180)
        told = self.sink.told
        verdict = await verdict_on(
            self.pipeline,
            self.client.books,
            self.prefix,
            mailed=told,
            notifier_deaths=self.report.notifier_deaths,
        )
        self.report.extra_notifications = sum(times - 1 for times in told.values())
        self.report.faults = verdict.faults()
        self.report.verdict = {
            "created": verdict.created,
            "rejected": verdict.rejected,
            "dead": len(verdict.dead),
        }
        self.report.seconds = asyncio.get_running_loop().time() - self._began
        return self.report


def _gap_within(moments: Sequence[float], began: float, ended: float) -> float:
    """The longest silence between two moments from just before ``began`` until ``ended``."""
    before = [moment for moment in moments if moment <= began][-1:]
    return longest_gap([*before, *(moment for moment in moments if began < moment <= ended)])


async def run(seed: int, faults: int, rate: float) -> Report:
    """A private cluster, the schedule, and the verdict."""
    async with AsyncExitStack() as stack:
        cluster = stack.enter_context(native_cluster())
        sink = await stack.enter_async_context(smtp_sink())
        pipeline = Pipeline(
            cluster,
            {
                "NOTIFIER_SENDER": "smtp",
                "NOTIFIER_MAIL_FROM": "orders@shop.example",
                "NOTIFIER_SMTP_HOST": LOOPBACK,
                "NOTIFIER_SMTP_PORT": str(sink.port),
                "NOTIFIER_SMTP_TLS": "off",
                "NOTIFIER_LETTERS_PER_HOUR": "1000000",  # all of them go to one customer
            },
        )
        stack.callback(pipeline.stop_all)
        await pipeline.make_whole()
        client = await stack.enter_async_context(gateway_client(pipeline.gateway_url, connections=2_000))
        chaos = Run(pipeline, client, sink, seed=seed, rate=rate)
        for number in range(SKUS):
            await client.set_stock(f"{chaos.prefix}{number}", round(faults * rate))
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(chaos.sample_decisions(stop))
            loading = group.create_task(chaos.load(stop))
            for name in drawn(faults, chaos.random):
                await chaos.suffer(name)
            await chaos.overload()
            stop.set()
            await loading
        return await chaos.judge()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--faults", type=int, default=60, help="how many faults, one after the other")
    parser.add_argument("--rate", type=float, default=40.0, help="orders per second")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}, {options.faults} faults at {options.rate:g} orders/s\n")
    report = asyncio.run(run(options.seed, options.faults, options.rate))
    page = report.write(options.out)
    sys.stdout.write(f"\n{report.markdown()}\nwritten to {page}\n")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
