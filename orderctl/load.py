"""A bounded number of clients placing orders as fast as they are told to, and what they saw."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from orderctl.gateway_client import Attempt, GatewayAnswer, GatewayClient, GatewayError
from orderctl.ledger import LedgerWriter
from shared.messages import OrderItem

UNANSWERED = "no answer"
STILL_OPEN = "still open"
LOOK_AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What to place. `rate_per_second` bounds all clients together; None is as fast as they can."""

    run_id: str
    orders: int
    concurrency: int
    items: tuple[OrderItem, ...]
    rate_per_second: float | None = None

    def order_id(self, number: int) -> str:
        """The id of one order, the same whenever it is asked for."""
        return f"load-{self.run_id}-{number}"


@dataclass(slots=True)
class LoadReport:
    """What was seen. Latencies are those of single requests that were answered 202, in seconds."""

    began: float = field(default_factory=time.perf_counter)
    ended: float | None = None
    acknowledged_ids: list[str] = field(default_factory=list)
    refused: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    latencies_seconds: list[float] = field(default_factory=list)
    longest_gap_seconds: float = 0.0
    _last_acknowledged: float | None = None

    def saw(self, attempt: Attempt) -> None:
        """Count one attempt, whether it was the last for its order or not."""
        if not isinstance(attempt, GatewayAnswer):
            self.answers[UNANSWERED] += 1
            return
        self.answers[str(attempt.status)] += 1
        if attempt.status == 202:
            now = time.perf_counter()
            self.latencies_seconds.append(attempt.seconds)
            self.longest_gap_seconds = max(
                self.longest_gap_seconds, now - (self._last_acknowledged or self.began)
            )
            self._last_acknowledged = now

    @property
    def acknowledged(self) -> int:
        """Orders that exist, by the gateway's word."""
        return len(self.acknowledged_ids)

    @property
    def finished(self) -> int:
        """Orders whose fate the client knows, or has given up to learn."""
        return self.acknowledged + self.refused

    @property
    def seconds(self) -> float:
        """How long the run took, or has taken."""
        return (self.ended or time.perf_counter()) - self.began

    @property
    def rate_per_second(self) -> float:
        """Acknowledged orders per second."""
        return self.acknowledged / self.seconds if self.seconds else 0.0


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that is not exceeded by this share of all; 0.0 of nothing."""
    if not sorted_values:
        return 0.0
    return sorted_values[max(0, math.ceil(share * len(sorted_values)) - 1)]


async def run_load(
    client: GatewayClient,
    plan: LoadPlan,
    ledger: LedgerWriter,
    report: LoadReport,
    advanced: Callable[[], None] = lambda: None,
) -> LoadReport:
    """Place every order of the plan; `advanced` is called after each. The report is filled as it goes."""
    report.began = time.perf_counter()
    numbers = iter(range(plan.orders))
    slots = _slots(plan.rate_per_second, report.began)

    async def client_in_turn() -> None:
        for number in numbers:
            await asyncio.sleep(max(0.0, next(slots) - time.perf_counter()))
            await _place(client, plan, plan.order_id(number), ledger, report)
            advanced()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(plan.concurrency, plan.orders)):
                group.create_task(client_in_turn())
    finally:
        report.ended = time.perf_counter()
    return report


async def _place(
    client: GatewayClient, plan: LoadPlan, order_id: str, ledger: LedgerWriter, report: LoadReport
) -> None:
    ledger.attempted(order_id, plan.items)
    order = {"id": order_id, "items": [{"sku": item.sku, "qty": item.qty} for item in plan.items]}
    try:
        answer = await client.place(order, observe=report.saw)
    except GatewayError:
        report.refused += 1
        ledger.refused(order_id, None)
        return
    if answer.accepted:
        report.acknowledged_ids.append(order_id)
        ledger.acknowledged(order_id, answer.body)
    else:
        report.refused += 1
        ledger.refused(order_id, answer.status)


def evenly(order_ids: Sequence[str], most: int) -> Sequence[str]:
    """All of them, or as many as may be, from first to last."""
    return order_ids[:: -(-len(order_ids) // most) or 1]


async def look_back(
    client: GatewayClient, order_ids: Sequence[str], concurrency: int, timeout_seconds: float
) -> Counter[str]:
    """What became of these orders: each status, with its reason; open are those not decided in that time."""
    became: Counter[str] = Counter()
    waiting = iter(order_ids)
    deadline = time.monotonic() + timeout_seconds

    async def look() -> None:
        for order_id in waiting:
            order = await client.get(f"/orders/{order_id}")
            while order.get("decided_at") is None and time.monotonic() < deadline:
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
                order = await client.get(f"/orders/{order_id}")
            decided = order.get("decided_at") is not None
            what = " ".join(filter(None, (order["status"], order.get("reason"))))
            became[what if decided else STILL_OPEN] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(look())
    return became


def _slots(rate_per_second: float | None, began: float) -> Iterator[float]:
    """The moment before which each next order must not be placed."""
    if rate_per_second is None:
        return (began for _ in count())
    return (began + number / rate_per_second for number in count())
