"""The gateway's HTTP port on a real socket, over ports that live in memory."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientResponse, ClientSession
from prometheus_client import CollectorRegistry

from api_gateway.app import build_app, table
from api_gateway.behind import routes_behind
from api_gateway.order_events import OrderEvents, StepFeed
from api_gateway.pages import page_table
from api_gateway.ports import StockWouldBeNegative, UnknownSku
from api_gateway.preference_routes import preference_table
from shared.errors import ServiceUnavailable
from shared.http.client import ServiceAnswer
from shared.http.guard import Guard
from shared.http.limits import Gate, HttpLimits
from shared.http.metrics import HttpMetrics
from shared.http.routes import Route
from shared.http.server import serve
from shared.keyspace import Channel
from shared.messages import Order, Trace, content_fingerprint
from shared.orders.model import MOVES, OrderStatus, Trouble
from shared.orders.moves import IllegalMove, Move, Moved, MoveResult
from shared.orders.placement import (
    Accepted,
    Duplicate,
    KeyReused,
    OutboxFull,
    Placement,
    PlacementResult,
    Replayed,
    Unpriceable,
)
from shared.orders.ports import Cursor, OrderFilter, OrderPage
from shared.orders.records import OrderRecord, TimelineStep
from shared.orders.redis.log import START, LogPage, LogPosition
from shared.prices import Prices
from shared.redis.stock import StockPage
from tests.harness.endpoints import an_endpoint
from tests.harness.tokens import a_guard

ACCEPTED_AT = datetime(2025, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)


@dataclass(slots=True)
class MemoryIntake:
    """Accepts each id once, at ``prices``, or answers with ``refusal``. ``fault`` is raised instead; ``gate``
    holds answers back until it is set.
    """

    placements: list[Placement] = field(default_factory=list)
    prices: Prices | None = None
    refusal: Unpriceable | None = None
    fault: BaseException | None = None
    gate: asyncio.Event | None = None
    begins: int | None = None
    waiting: int = 0

    async def place(self, placement: Placement) -> PlacementResult:
        """See the port."""
        if self.fault is not None:
            raise self.fault
        if self.gate is not None:
            self.waiting += 1
            await self.gate.wait()
        fingerprint = content_fingerprint(placement.sent or placement.order)
        for known in self.placements:
            same = content_fingerprint(known.sent or known.order) == fingerprint
            has_key = known.customer == placement.customer and known.idempotency_key is not None
            if has_key and known.idempotency_key == placement.idempotency_key:
                if same and (known.order.id == placement.order.id or not placement.client_named_id):
                    return Replayed(order_id=known.order.id, media_type=known.media_type, prices=self.prices)
                return KeyReused(order_id=known.order.id)
            if known.order.id == placement.order.id:
                return Duplicate(
                    order_id=known.order.id,
                    status=OrderStatus.CREATED,
                    same_content=same,
                    customer=known.customer,
                )
        if self.refusal is not None:
            return self.refusal
        if not placement.has_room:
            raise OutboxFull("no room")
        self.placements.append(placement)
        return Accepted(order_id=placement.order.id, prices=self.prices, not_before=self.begins)


@dataclass(slots=True)
class MemoryOrders:
    """Shows the orders of an intake; remembers what was listed."""

    intake: MemoryIntake
    fault: BaseException | None = None
    queries: list[tuple[OrderStatus | Trouble | None, int, Cursor | None]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    waiting: int = 0
    notifications: dict[str, dict[str, str]] = field(default_factory=dict)

    async def get(self, order_id: str) -> OrderRecord | None:
        """See the port."""
        if self.fault is not None:
            raise self.fault
        found = (placed for placed in self.intake.placements if placed.order.id == order_id)
        return next((record_of(placed, self.intake.prices) for placed in found), None)

    async def notification(self, order_id: str) -> Mapping[str, str]:
        return self.notifications.get(order_id, {})

    async def get_many(self, order_ids: Sequence[str]) -> Sequence[OrderRecord | None]:
        return [await self.get(order_id) for order_id in order_ids]

    async def list(self, wanted: OrderFilter, limit: int, after: Cursor | None) -> OrderPage:
        self.queries.append((wanted.trouble or wanted.status, limit, after))
        if self.gate is not None:
            self.waiting += 1
            await self.gate.wait()
        placements: Sequence[Placement] = [
            placed
            for placed in self.intake.placements[::-1]
            if wanted.customer in (None, placed.customer) and not (wanted.unowned and placed.customer)
        ]
        if after is not None:
            ids = [placed.order.id for placed in placements]
            placements = placements[ids.index(after.order_id) + 1 :]
        shown = placements[:limit]
        more = len(placements) > limit
        cursor = Cursor(accepted_at=1_700_000_000_000_000, order_id=shown[-1].order.id) if more else None
        return OrderPage(
            orders=[record_of(placed, self.intake.prices) for placed in shown], next_cursor=cursor
        )


@dataclass(slots=True)
class MemoryBudget:
    """Has room for the orders of all clients but ``refused``, and notes what they stored."""

    refused: set[str] = field(default_factory=set)
    orders: list[tuple[str, str]] = field(default_factory=list)

    def has_room(self, client: str, order: Order) -> bool:
        return client not in self.refused

    def stored(self, client: str, order: Order) -> None:
        self.orders.append((client, order.id))


@dataclass(slots=True)
class MemoryStock:
    """Stock in a dictionary."""

    stock: dict[str, int | None] = field(default_factory=dict)
    fault: BaseException | None = None

    async def get(self, sku: str) -> int | None:
        """See the port."""
        return self.stock.get(sku)

    of_one = get

    async def list(self, after: str, limit: int) -> StockPage:
        skus = [sku for sku in sorted(self.stock) if sku > after]
        page = {sku: self.stock[sku] for sku in skus[:limit]}
        return StockPage(stock=page, next_after=skus[limit - 1] if len(skus) > limit else None)

    async def remove(self, sku: str) -> None:
        if self.fault is not None:
            raise self.fault
        if sku not in self.stock:
            raise UnknownSku(sku)
        del self.stock[sku]

    async def set(self, sku: str, available: int) -> int:
        """See the port."""
        if self.fault is not None:
            raise self.fault
        self.stock[sku] = available
        return available

    async def adjust(self, sku: str, delta: int) -> int:
        """See the port."""
        if self.fault is not None:
            raise self.fault
        before = self.stock.get(sku)
        if before is None:
            raise UnknownSku(sku)
        if before + delta < 0:
            raise StockWouldBeNegative(sku)
        self.stock[sku] = before + delta
        return before + delta


@dataclass(slots=True)
class MemoryPreferences:
    """What each customer declines."""

    declined: dict[str, Collection[Channel]] = field(default_factory=dict)

    async def declined_by(self, customer: str) -> Collection[Channel]:
        return self.declined.get(customer, ())

    async def decline(self, customer: str, channels: Collection[Channel]) -> None:
        self.declined[customer] = channels


@dataclass(slots=True)
class MemoryService:
    """A service behind the gateway that answers as a test says, and notes what it was asked."""

    answers: dict[tuple[str, str], ServiceAnswer] = field(default_factory=dict)
    asked: list[tuple[str, str, Mapping[str, str], bytes | None]] = field(default_factory=list)

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> ServiceAnswer:
        self.asked.append((method, path, headers or {}, body))
        return self.answers.get((method, path)) or ServiceAnswer(status=404, headers={}, body=b"")


@dataclass(slots=True)
class MemoryLedger(MemoryService):
    """Has no orders, unless a test says otherwise. ``reason`` is why it is away, where it is."""

    reason: str | None = None

    async def send(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> ServiceAnswer:
        if self.reason is not None:
            raise ServiceUnavailable("ledger", self.reason)
        answer = await MemoryService.send(self, method, path, headers=headers, body=body)
        if answer.status == 404 and path.startswith("/orders?"):
            return ServiceAnswer(status=200, headers={}, body=b'{"orders":[],"next_cursor":null}')
        return answer


@dataclass(slots=True)
class Gateway:
    """A gateway that runs in this process, and the ports behind it."""

    port: int
    session: ClientSession
    intake: MemoryIntake
    orders: MemoryOrders
    stock: MemoryStock
    budget: MemoryBudget
    accounts: MemoryService
    ledger: MemoryLedger
    registry: CollectorRegistry

    def metric(self, name: str, **labels: str) -> float:
        """The value of a sample, 0 where there is none yet."""
        return self.registry.get_sample_value(name, labels) or 0.0

    async def post(self, body: bytes | str, **headers: str) -> ClientResponse:
        """Posts an order."""
        return await self.send("POST", "/orders", body, **headers)

    async def send(self, method: str, path: str, body: bytes | str = b"", **headers: str) -> ClientResponse:
        """Sends a JSON body; header names are written with underscores. The answer has been read."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        payload = body.encode() if isinstance(body, str) else body
        answer = await self.session.request(
            method, path, data=payload, headers={"Content-Type": "application/json", **named}
        )
        await answer.read()
        return answer

    async def raw(self, request: bytes, *, timeout_seconds: float = 10.0) -> bytes:
        """Sends bytes and reads until the gateway closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await reader.read()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


class MemoryMoves:
    """Judges moves by the table, and changes nothing."""

    async def move(self, record: OrderRecord, move: Move) -> MoveResult:
        if move.to not in (record.status, *MOVES[record.status]):
            return IllegalMove(status=record.status)
        return Moved(is_new=move.to is not record.status)


class NoSteps:
    """A log in which nothing ever stands."""

    async def end(self) -> LogPosition:
        return LogPosition(log_id=START)

    async def read(self, after: LogPosition, limit: int) -> LogPage | None:
        return LogPage(entries=(), end=after, read=0)


def no_events() -> OrderEvents:
    """Orders that nobody has, to whom nothing happens."""
    return OrderEvents(MemoryOrders(MemoryIntake()), StepFeed(NoSteps()), Gate(1))


def memory_table() -> Sequence[Route]:
    """All routes of a gateway whose ports live in memory."""
    intake = MemoryIntake()
    own = table(
        intake=intake,
        orders=MemoryOrders(intake),
        moves=MemoryMoves(),
        ledger=MemoryLedger(),
        stock=MemoryStock(),
        budget=MemoryBudget(),
        limits=HttpLimits(),
        events=no_events(),
    )
    behind = MemoryService()
    return (
        *own,
        *preference_table(MemoryPreferences(), HttpLimits()),
        *page_table(),
        *routes_behind(behind, behind, behind, behind, MemoryStock(), HttpLimits()),
    )


@asynccontextmanager
async def gateway(
    limits: HttpLimits | None = None,
    *,
    trusted_proxies: Sequence[str] = (),
    allowed_hosts: Sequence[str] = (),
    guard: Guard | None = None,
    dashboard_url: str | None = None,
) -> AsyncIterator[Gateway]:
    """A gateway on a free port of loopback, which takes requests without a token unless told otherwise."""
    limits = limits or HttpLimits()
    intake = MemoryIntake()
    orders, stock, registry = MemoryOrders(intake), MemoryStock(), CollectorRegistry()
    budget = MemoryBudget()
    accounts, ledger = MemoryService(), MemoryLedger()
    endpoint = an_endpoint(limits=limits, trusted_proxies=trusted_proxies, allowed_hosts=allowed_hosts)
    own = table(
        intake=intake,
        orders=orders,
        moves=MemoryMoves(),
        ledger=ledger,
        stock=stock,
        budget=budget,
        limits=limits,
        events=no_events(),
    )
    behind = routes_behind(accounts, MemoryService(), ledger, MemoryService(), stock, limits)
    told = preference_table(MemoryPreferences(), limits)
    app = build_app((*own, *told, *page_table(dashboard_url), *behind), guard or a_guard())
    async with (
        serve(app, endpoint, HttpMetrics(registry)) as port,
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield Gateway(
            port=port,
            session=session,
            intake=intake,
            orders=orders,
            stock=stock,
            budget=budget,
            accounts=accounts,
            ledger=ledger,
            registry=registry,
        )


def record_of(placement: Placement, prices: Prices | None = None) -> OrderRecord:
    """The record of an order that was just accepted."""
    return OrderRecord(
        order=placement.order,
        customer=placement.customer,
        status=OrderStatus.ACCEPTED,
        accepted_at=ACCEPTED_AT,
        decided_at=None,
        reason=None,
        sku_at_fault=None,
        sequence=None,
        next_attempt_at=None,
        trace=Trace(correlation_id=placement.trace.correlation_id),
        timeline=[TimelineStep(step="accepted", at=ACCEPTED_AT, reason=None, attempts=None)],
        prices=prices,
    )


async def problem_of(answer: ClientResponse) -> dict[str, Any]:
    """The problem in an answer, after checking that it is one in full."""
    assert answer.content_type == "application/problem+json", await answer.text()
    found: dict[str, Any] = await answer.json(content_type=None)
    assert {"type", "title", "status", "detail", "instance", "correlation_id"} <= set(found)
    assert found["status"] == answer.status
    assert found["correlation_id"] == answer.headers["X-Correlation-ID"]
    return found
