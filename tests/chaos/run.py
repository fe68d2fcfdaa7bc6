"""One stage of a chaos run: a private cluster, a load, faults one after the other, and the verdict."""

import asyncio
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import psutil
from redis.exceptions import RedisError

from orderctl.verification.promises import Promises
from orderctl.verification.session import verify
from shared import keyspace
from shared.orders.decisions import EVENT_TYPES
from shared.orders.model import OrderStatus
from shared.orders.moves import ANNOUNCED
from tests.chaos.faults import FAULTS, UPGRADES
from tests.chaos.report import Overload, Report, Seen
from tests.chaos.shop import DEAREST, Shop, charged_wrongly
from tests.chaos.stages import Stage
from tests.harness.brokers import delay
from tests.harness.client import GatewayClient, gateway_client
from tests.harness.evidence import FollowedLog, store_of, total_in, wait_until_settled
from tests.harness.native_cluster import native_cluster
from tests.harness.running import Pipeline, SystemUnderLoad
from tests.harness.smtp_sink import LOOPBACK, SmtpSink, smtp_sink
from tests.harness.trial import longest_gap
from tests.harness.waiting import wait_until

SAMPLE_SECONDS: Final = 0.05
FLOWING_SECONDS: Final = 60.0
CALM_SECONDS: Final = 1.0
SETTLED_SECONDS: Final = 180.0
LETTERS_PER_SECOND: Final = 40
"""Fewer than the notifier and the mail server of this process manage."""
KNOWN_SECONDS: Final = 180.0
"""How long a client asks again for one order."""
SWEPT_MEANWHILE_SECONDS: Final = 60.0
CANCELLED_OF: Final = 7
"""One order in so many is cancelled as soon as it is acknowledged, by who placed it."""
DELIVERED_OF: Final = 5
"""One in so many, of those without a customer, goes all the way."""
DECIDED_SECONDS, MOST_MOVES = 5.0, 4
"""How long an operator waits with a move that was refused, and how often it is tried."""
STEP_SECONDS: Final = 3_600.0
SKUS: Final = 5
PRICED: Final = 2
"""Of them: these are products, and bought with a token."""
BURST: Final = 2_000
MOST_AT_ONCE: Final = 500
"""Orders whose client still asks; while a service is away the load waits rather than ask for all of them."""
CUSTOMER: Final = "customer@shop.example"
DEATHS: Final = ("leader killed", "redis killed", "service killed", "service crashed", "shop killed")


Injection = Callable[[str, random.Random], Awaitable[str]]
"""Breaks and mends what a fault's name says; returns what exactly it did."""


class Run:
    """A steady load, and faults one after the other."""

    def __init__(
        self,
        system: SystemUnderLoad,
        client: GatewayClient,
        stage: Stage,
        inject: Injection,
        sink: SmtpSink | None = None,
    ) -> None:
        """``sink`` is where letters arrive; without one, customers are told in the notifier's log."""
        self.system = system
        self.client = client
        self.sink = sink
        self.notifier_log = FollowedLog(system.notifier_log)
        self._inject = inject
        self.stage = stage
        self.random = random.Random(stage.seed)
        self.report = Report(seed=stage.seed, channel=stage.channel)
        self.prefix = f"chaos{stage.seed}x{time.time_ns()}-"
        self.shop = Shop(client, [f"{self.prefix}{n}" for n in range(PRICED)], self.random)
        self.placed_at: dict[str, float] = {}
        self.decided_at: list[float] = []
        self.most_undecided = 0
        self._began = asyncio.get_running_loop().time()

    async def load(self, stop: asyncio.Event) -> None:
        """Places orders at a steady rate, each until its fate is known, whatever is broken."""
        loop = asyncio.get_running_loop()
        turns, due, number = asyncio.Semaphore(MOST_AT_ONCE), loop.time(), 0

        async def place(number: int) -> None:
            order = self._order(number)
            headers = self.shop.headers_for(order["sku"])
            await self.client.place_until_known(order, timeout_seconds=KNOWN_SECONDS, headers=headers)
            if number % CANCELLED_OF == 0:
                await self.client.move_until_known(order["id"], OrderStatus.CANCELLED, headers)
            turns.release()
            if number % DELIVERED_OF == 1 and not headers:
                await self._deliver(order["id"])

        async with asyncio.TaskGroup() as group:
            while not stop.is_set() or number < self.stage.orders:
                await turns.acquire()
                group.create_task(place(number))
                number += 1
                due = max(due + 1 / self.stage.rate, loop.time() - 1.0)
                await delay(max(0.0, due - loop.time()))

    async def _deliver(self, order_id: str) -> None:
        """Moves an order to its end once it is decided, if it was created."""
        for _ in range(MOST_MOVES):
            if await self.client.move_until_known(order_id, OrderStatus.PROCESSING):
                for to in (OrderStatus.SHIPPED, OrderStatus.DELIVERED):
                    await self.client.move_until_known(order_id, to)
                return
            await delay(DECIDED_SECONDS)

    async def reached(self, orders: int) -> None:
        """Waits until so many orders have been placed."""
        await wait_until(
            lambda: len(self.placed_at) >= orders, timeout_seconds=STEP_SECONDS, what=f"{orders} orders"
        )

    async def sample(self, stop: asyncio.Event) -> None:
        """Notes when decisions happen, and how many orders wait for one; the store being away is neither.

        It is told to stop and not cancelled, since redis-py may swallow a cancellation.
        """
        async with store_of(self.system) as redis:
            before = 0
            while not stop.is_set():
                try:
                    count = int(await redis.get(keyspace.PROCESSED_COUNT) or 0)
                    undecided = int(await redis.zcard(keyspace.orders_in(OrderStatus.ACCEPTED)))
                except (RedisError, OSError):
                    count, undecided = before, 0
                if count > before:
                    self.decided_at.append(asyncio.get_running_loop().time())
                before = count
                self.most_undecided = max(self.most_undecided, undecided)
                self.notifier_log.read()
                await delay(SAMPLE_SECONDS)

    async def suffer(self, name: str) -> None:
        """Injects one fault, mends it, and waits until orders are decided again."""
        loop = asyncio.get_running_loop()
        began, self.most_undecided = loop.time(), 0
        detail = await self._inject(name, self.random)
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
                undecided=self.most_undecided,
            )
        )
        sys.stdout.write(
            f"{began - self._began:6.0f} s  {name}: {detail}, back after {flowing - mended:.2f} s\n"
        )
        await delay(CALM_SECONDS)

    async def overload(self, gateway_pid: int | None) -> None:
        """Asks for far more at once than the gateway takes; those turned away ask again until they are in."""
        process = psutil.Process(gateway_pid)
        before = process.memory_info().rss
        orders = [self._order(f"burst{number}") for number in range(BURST)]
        answers = await asyncio.gather(*(self.client.place(order) for order in orders))
        refused = [answer.seconds for answer in answers if answer.status == 503]
        await self.client.place_many(orders, 50)
        self.report.overload = Overload(
            requests=BURST,
            refused=len(refused),
            refused_median=statistics.median(refused or [0.0]),
            refused_worst=max(refused, default=0.0),
            rss_before=before,
            rss_after=process.memory_info().rss,
        )

    def _order(self, number: int | str) -> Mapping[str, Any]:
        sku, order_id = f"{self.prefix}{self.random.randrange(SKUS)}", f"{self.prefix}{number}"
        self.placed_at[order_id] = time.monotonic()
        return {"id": order_id, "sku": sku, "qty": 1, "email": CUSTOMER}

    async def endure(self, overload: Callable[[], Awaitable[None]] | None = None) -> None:
        """Every fault of the stage under its load, and at last what overloads the gateway, if wanted."""
        stage = self.stage
        await self.shop.open()
        orders = max(stage.orders // 2, round(len(stage.faults) * stage.rate * SKUS))
        for number in range(SKUS):
            await self.client.set_stock(f"{self.prefix}{number}", orders // SKUS)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.sample(stop))
            group.create_task(self.shop.run(stop))
            loading = group.create_task(self.load(stop))
            try:
                await wait_until(lambda: bool(self.decided_at), what="the first decision")
                for number, name in enumerate(stage.faults):
                    await self.reached(stage.orders * number // len(stage.faults))
                    await self.suffer(name)
                if overload is not None:
                    await overload()
                await self.reached(stage.orders)
            finally:
                stop.set()
            await loading

    async def judge(self, ledger_url: str | None = None) -> Report:
        """Waits until every order is decided and told, has `orderctl verify` judge, and counts letters.

        Compared with the ledger's rows too, where its database is named.
        """
        report, books = self.report, self.client.books
        try:
            patience = SETTLED_SECONDS + len(self.placed_at) / LETTERS_PER_SECOND
            await wait_until_settled(self.system, timeout_seconds=patience)
        except AssertionError as error:
            report.faults["unsettled"] = [str(error)]
        kept_since = time.monotonic() - self.stage.retention_seconds + SWEPT_MEANWHILE_SECONDS
        outcome = await verify(
            self.system.redis_url,
            Promises(
                acknowledged={each for each in books.acknowledged if self.placed_at[each] > kept_since},
                costs=books.costs,
            ),
            ledger_url=ledger_url,
        )
        told, totals = self._told()
        verdict = outcome.verdict
        report.orders, report.removed = len(self.placed_at), outcome.snapshot.stock.archived_orders
        report.faults |= verdict.faults() | told_wrongly(
            books.acknowledged, told, {*verdict.dead, *verdict.undelivered}
        )
        report.faults |= charged_wrongly(books.costs, totals, self.shop.amounts)
        async with store_of(self.system) as redis:
            report.faults |= await self.shop.faults(redis)
        report.shop = self.shop.story(books.costs)
        if not len(books.acknowledged) <= verdict.orders + report.removed <= len(books.attempted):
            report.faults["miscounted"] = [
                f"{len(books.acknowledged)} acknowledged, {verdict.orders} kept, {report.removed} swept"
            ]
        report.extra_notifications = sum(times - 1 for times in told.values())
        counts = {
            outcome.value: sum(event.endswith(kind) for event in told) for outcome, kind in ANNOUNCED.items()
        }
        report.verdict = {
            **counts,
            "paid for": verdict.paid,
            "dead": len(verdict.dead),
            "swept meanwhile": report.removed,
        }
        report.seconds = asyncio.get_running_loop().time() - self._began
        return report

    def _told(self) -> tuple[Mapping[str, int], Mapping[str, str]]:
        """How often customers were told of each event, and the total that was named."""
        if self.sink is not None:
            return self.sink.told, {each.event_id: total_in(each.text) for each in self.sink.letters}
        self.notifier_log.read()
        return self.notifier_log.told, self.notifier_log.totals


def told_wrongly(
    acknowledged: Collection[str], told: Mapping[str, int], excused: Collection[str]
) -> dict[str, list[str]]:
    """By what arrived at the customers' end: the orders whose customer was told nothing, or both outcomes.

    Who heard of a later step is not told of an earlier one any more.
    """
    found: dict[str, list[str]] = {}
    for order_id in sorted(set(acknowledged).difference(excused)):
        outcomes = sum(f"{order_id}:{kind}" in told for kind in EVENT_TYPES.values())
        is_told = any(f"{order_id}:{kind}" in told for kind in ANNOUNCED.values())
        if outcomes > 1 or not is_told:
            found.setdefault("told both outcomes" if outcomes else "told nothing", []).append(order_id)
    return found


def _gap_within(moments: Sequence[float], began: float, ended: float) -> float:
    """The longest silence between two moments from just before ``began`` until ``ended``."""
    before = [moment for moment in moments if moment <= began][-1:]
    return longest_gap([*before, *(moment for moment in moments if began < moment <= ended)])


def settings_of(stage: Stage) -> dict[str, str]:
    """What the services are told, wherever they run."""
    return {
        "ORDER_RETENTION_SECONDS": f"{stage.retention_seconds:g}",
        "GATEWAY_CONNECTIONS_PER_ADDRESS": "2048",  # all of them come from one address
        "PAYMENTS": "simulated",
        "PROCESSOR_PAYMENT_LIMIT": f"{DEAREST * 4 // 5}",
        "PROCESSOR_PAYMENT_MISHAPS": "20",
        "NOTIFIER_SENDER": stage.channel,
    }


async def run(stage: Stage, earlier: Path | None = None) -> Report:
    """A private cluster, the stage's faults, and the verdict.

    Its services are at first those of the ``earlier`` tree, where one is given.
    """
    async with AsyncExitStack() as stack:
        cluster = stack.enter_context(native_cluster())
        sink = await stack.enter_async_context(smtp_sink())
        pipeline = Pipeline(
            cluster,
            {
                **settings_of(stage),
                "NOTIFIER_MAIL_FROM": "orders@shop.example",
                "NOTIFIER_SMTP_HOST": LOOPBACK,
                "NOTIFIER_SMTP_PORT": str(sink.port),
                "NOTIFIER_SMTP_TLS": "off",
                "NOTIFIER_LETTERS_PER_HOUR": "1000000",  # all of them go to one customer
            },
        )
        stack.callback(pipeline.stop_all)
        await (pipeline.make_whole() if earlier is None else pipeline.begin_with(earlier))
        client = await stack.enter_async_context(gateway_client(pipeline.gateway_url, connections=2_000))

        async def inject(name: str, random_: random.Random) -> str:
            return await {**FAULTS, **UPGRADES}[name](pipeline, random_)

        async def overload() -> None:
            await chaos.overload(pipeline.services.pid("api_gateway"))

        chaos = Run(pipeline, client, stage, inject, sink if stage.channel == "smtp" else None)
        stack.callback(chaos.notifier_log.close)
        await chaos.endure(overload if earlier is None else None)
        return await chaos.judge()
