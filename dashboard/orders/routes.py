"""The pages about orders: what happens to all of them, where one stands and why, and moving it on."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from aiohttp import web

from dashboard.dead_letters.desk import DeadLetterDesk
from dashboard.dead_letters.letter import Letter, Wanted
from dashboard.orders.store import Found, OrderFinder
from dashboard.visiting import Visits, form
from shared.errors import DependencyUnavailable
from shared.history.schemas import order_view
from shared.http.auth import actor_of
from shared.http.problems import INVALID_FIELDS, NOT_FOUND, FieldError, Problem, invalid
from shared.http.routes import Parameter, Route
from shared.logs import get_logger
from shared.messages import event_time, is_identifier
from shared.orders.model import NEEDS_PAYMENT, OrderStatus, Payment
from shared.orders.moves import EVENT_TYPES, Move, allowed_from, refusal
from shared.orders.records import OrderRecord
from shared.orders.redis.moves import RedisMoves
from shared.prices import LinePrice

LATEST: Final = 25
IN_TROUBLE: Final = 25
MOST_LETTERS: Final = 10
LONGEST_REASON: Final = 200
BUTTONS: Final = {
    OrderStatus.PROCESSING: "Prepare it",
    OrderStatus.SHIPPED: "It is shipped",
    OrderStatus.DELIVERED: "It is delivered",
    OrderStatus.CANCELLED: "Cancel it",
}
_LOOKS: Final = {OrderStatus.REJECTED: "bad", OrderStatus.DELIVERED: "good", OrderStatus.CANCELLED: ""}
_ID: Final = Parameter(name="id", place="path", description="Its id.", schema={"type": "string"})

log = get_logger(__name__)


class OrderPages:
    """The routes."""

    def __init__(self, visits: Visits, orders: OrderFinder, moves: RedisMoves, desk: DeadLetterDesk) -> None:
        self._visits = visits
        self._orders = orders
        self._moves = moves
        self._desk = desk

    def table(self) -> tuple[Route, ...]:
        """What is served, and described."""
        return (
            self._visits.route(
                "/orders",
                self.list,
                name="ordersPage",
                summary="What happens to orders, and which are in trouble",
                parameters=(
                    Parameter(name="id", description="Leads to this order.", schema={"type": "string"}),
                ),
                bodiless={303: "There is such an order, or may be."},
            ),
            self._visits.route(
                "/orders/{id}",
                self.show,
                name="orderPage",
                summary="An order: where it stands and why, and what can be done with it",
                parameters=(_ID,),
            ),
            self._visits.route(
                "/orders/{id}/status",
                self.move,
                method="POST",
                name="moveOrderByForm",
                summary="Move an order on, by the form of its page",
                parameters=(_ID,),
                meaning="It was not moved: its page says why.",
                bodiless={303: "It was moved: the order's page."},
                problems=(INVALID_FIELDS,),
            ),
        )

    async def list(self, request: web.Request) -> web.StreamResponse:
        """``GET /orders``"""
        wanted = request.query.get("id", "").strip()
        if wanted:
            return _see(wanted)
        return self._visits.page(
            "orders.html",
            steps=[(step, event_time(step.at)) for step in await self._orders.latest(LATEST)],
            troubled=await self._orders.in_trouble(IN_TROUBLE),
        )

    async def show(self, request: web.Request) -> web.StreamResponse:
        """``GET /orders/{id}``"""
        return await self._page(await self._found(request))

    async def move(self, request: web.Request) -> web.StreamResponse:
        """``POST /orders/{id}/status``"""
        found, fields = await self._found(request), await form(request)
        to, version, reason = (fields.get(name, "").strip() for name in ("status", "version", "reason"))
        faults = {
            "status": to not in EVENT_TYPES,
            "version": not (version.isascii() and version.isdecimal() and len(version) < 10),
            "reason": len(reason) > LONGEST_REASON or not reason.isprintable(),
        }
        if any(faults.values()):
            at_fault = [name for name, is_wrong in faults.items() if is_wrong]
            raise invalid(INVALID_FIELDS, [FieldError(field=name, message="is no such") for name in at_fault])
        order_id, actor = found.record.order.id, actor_of(request)
        move = Move(order_id=order_id, to=OrderStatus(to), by=actor, reason=reason, version=int(version))
        fault = refusal(await self._moves.move(found.record, move))
        log.warning("audit", action="move", order_id=order_id, to=to, outcome=fault or "moved", client=actor)
        if fault is None:
            return _see(order_id)
        return await self._page(await self._found(request), fault)

    async def _found(self, request: web.Request) -> Found:
        order_id = request.match_info["id"]
        found = await self._orders.find(order_id) if is_identifier(order_id) else None
        if found is None:
            older = "Of older ones the ledger tells: .venv/bin/orderctl order show ID"
            raise Problem(NOT_FOUND, f"Redis has no order {order_id}. {older}")
        return found

    async def _page(self, found: Found, fault: str | None = None) -> web.Response:
        record = found.record
        letters, silence = await self._letters(record.order.id)
        unpaid = record.payment not in (None, Payment.AUTHORISED)
        return self._visits.page(
            "order.html",
            status=HTTPStatus.OK if fault is None else HTTPStatus.CONFLICT,
            order=order_view(record, found.notification),
            record=record,
            prices=record.prices,
            lines=list(zip(record.order.items, _lines(record), strict=True)),
            found=found,
            letters=letters,
            silence=silence,
            fault=fault,
            look="bad" if record.trouble else _LOOKS.get(record.status, "unsure"),
            moves={
                to: BUTTONS[to] for to in allowed_from(record.status) if not (unpaid and to in NEEDS_PAYMENT)
            },
            is_paid=record.payment is Payment.AUTHORISED,
            ending=OrderStatus.CANCELLED,
            longest_reason=LONGEST_REASON,
        )

    async def _letters(self, order_id: str) -> tuple[Sequence[Letter], str | None]:
        """Dead letters of the order; the other is why they are not known, if so."""
        try:
            return (await self._desk.look(Wanted(ids=(order_id,)), MOST_LETTERS)).letters, None
        except DependencyUnavailable as error:
            return [], str(error)


def _lines(record: OrderRecord) -> Sequence[LinePrice | None]:
    """What each item cost and was called, where it had a price."""
    return (None,) * len(record.order.items) if record.prices is None else record.prices.lines


def _see(order_id: str) -> web.Response:
    place = f"/orders/{quote(order_id, safe='')}"
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": place})
