"""The pages about orders: what happens to all of them, where one stands and why, and moving it on."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import quote, urlencode

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, field_validator

from dashboard.dead_letters.desk import DeadLetterDesk
from dashboard.dead_letters.letter import Letter, Wanted
from dashboard.dead_letters.requests import checked
from dashboard.orders.problems import NOT_MOVED
from dashboard.orders.store import Found, OrderFinder
from dashboard.visiting import Visits, form, is_browser
from shared.errors import DependencyUnavailable
from shared.history.listing import CUSTOMER, ORDER_CURSOR, STATUS, order_cursor
from shared.history.schemas import order_view
from shared.http.auth import actor_of
from shared.http.listing import ListParameter, maybe, read_parameters
from shared.http.problems import INVALID_FIELDS, INVALID_PARAMETER, MALFORMED_FORM, NOT_FOUND, Problem
from shared.http.routes import Parameter, Route
from shared.logs import get_logger
from shared.messages import event_time, is_identifier
from shared.orders.model import NEEDS_PAYMENT, OrderStatus, Payment
from shared.orders.moves import EVENT_TYPES, Move, OtherVersion, allowed_from, refusal
from shared.orders.ports import Cursor, OrderFilter
from shared.orders.records import OrderRecord
from shared.orders.redis.listing import RedisOrderReader
from shared.orders.redis.moves import RedisMoves
from shared.prices import LinePrice

LATEST: Final = 25
LISTED: Final = 50
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
_ID: Final = Parameter(
    name="id",
    place="path",
    description="Its id.",
    schema={"type": "string", "examples": ["order123"]},
)
_LIST: Final = {
    "id": maybe(ListParameter(parse=str)),
    "status": maybe(STATUS),
    "customer": maybe(CUSTOMER),
    "cursor": maybe(ORDER_CURSOR),
}

log = get_logger(__name__)


class MoveForm(BaseModel):
    """What the order is to become, as what its page showed it, and why.

    Not as of which version: what its customer was told is a step too, and no reason to ask again.
    """

    model_config = ConfigDict(frozen=True)

    status: Annotated[OrderStatus, Field(json_schema_extra={"enum": list(EVENT_TYPES)})]
    was: OrderStatus
    reason: Annotated[str, Field(max_length=LONGEST_REASON, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")] = ""

    @field_validator("status")
    @classmethod
    def _can_be_asked_for(cls, status: OrderStatus) -> OrderStatus:
        if status not in EVENT_TYPES:
            raise ValueError("cannot be asked for")
        return status


class OrderPages:
    """The routes."""

    def __init__(
        self,
        visits: Visits,
        orders: OrderFinder,
        reader: RedisOrderReader,
        moves: RedisMoves,
        desk: DeadLetterDesk,
    ) -> None:
        self._visits = visits
        self._reader = reader
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
                    Parameter(name="status", description="Lists those.", schema={"enum": ["", *OrderStatus]}),
                    Parameter(
                        name="customer", description="Lists those of an account.", schema={"type": "string"}
                    ),
                    Parameter(
                        name="cursor", description="Where the list before ended.", schema={"type": "string"}
                    ),
                ),
                problems=(INVALID_PARAMETER,),
                bodiless={303: "There is such an order, or may be."},
                headers={303: ("Location",)},
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
                form=MoveForm,
                meaning="It was not moved: its page says why.",
                bodiless={303: "It was moved: the order's page."},
                headers={303: ("Location",)},
                problems=(INVALID_FIELDS, MALFORMED_FORM, NOT_MOVED),
            ),
        )

    async def list(self, request: web.Request) -> web.StreamResponse:
        """``GET /orders``"""
        asked = read_parameters(request, **_LIST)
        wanted, status, customer = asked["id"], asked["status"], asked["customer"]
        if wanted:
            if not is_identifier(wanted) or not wanted.strip("."):
                raise Problem(NOT_FOUND, "That is no id of an order.")
            return _see(wanted)
        if status or customer or asked["cursor"]:
            page = await self._reader.list(
                OrderFilter(status=status, customer=customer), LISTED, asked["cursor"]
            )
            return self._visits.page(
                "listed.html",
                page=page,
                chosen=status,
                is_begun=asked["cursor"] is not None,
                customer=customer,
                statuses=OrderStatus,
                looks=_LOOKS,
                further=_further(page.next_cursor, status, customer),
            )
        return self._visits.page(
            "orders.html",
            steps=[(step, event_time(step.at)) for step in await self._orders.latest(LATEST)],
            troubled=await self._orders.in_trouble(IN_TROUBLE),
            statuses=OrderStatus,
        )

    async def show(self, request: web.Request) -> web.StreamResponse:
        """``GET /orders/{id}``"""
        return await self._page(await self._found(request))

    async def move(self, request: web.Request) -> web.StreamResponse:
        """``POST /orders/{id}/status``"""
        found, asked = await self._found(request), checked(MoveForm, await form(request))
        order_id, actor = found.record.order.id, actor_of(request)
        record = found.record
        move = Move(
            order_id=order_id, to=asked.status, by=actor, reason=asked.reason.strip(), version=record.version
        )
        if asked.was is record.status:
            fault = refusal(await self._moves.move(record, move))
        else:
            fault = refusal(OtherVersion(version=record.version))
        outcome = fault or "moved"
        log.warning("audit", action="move", order_id=order_id, to=move.to, outcome=outcome, client=actor)
        if fault is None:
            return _see(order_id)
        if not is_browser(request):
            raise Problem(NOT_MOVED, fault)
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
        letters, silence = await self._letters(found)
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
            renews=fault is None,
            look="bad" if record.trouble else _LOOKS.get(record.status, "unsure"),
            moves={
                to: BUTTONS[to] for to in allowed_from(record.status) if not (unpaid and to in NEEDS_PAYMENT)
            },
            is_paid=record.payment is Payment.AUTHORISED,
            ending=OrderStatus.CANCELLED,
            longest_reason=LONGEST_REASON,
        )

    async def _letters(self, found: Found) -> tuple[Sequence[Letter], str | None]:
        """Dead letters of the order; the other is why they are not known, if so.

        They are looked for where something has died: that takes the desk's turn, and pages renew themselves.
        """
        if not found.has_died:
            return [], None
        try:
            return (await self._desk.look(Wanted(ids=(found.record.order.id,)), MOST_LETTERS)).letters, None
        except DependencyUnavailable as error:
            return [], str(error)


def _further(after: Cursor | None, status: OrderStatus | None, customer: str | None) -> str | None:
    """Where the list goes on."""
    if after is None:
        return None
    named = {
        "status": status,
        "customer": customer,
        "cursor": order_cursor(after.accepted_at, after.order_id),
    }
    return urlencode({name: value for name, value in named.items() if value})


def _lines(record: OrderRecord) -> Sequence[LinePrice | None]:
    """What each item cost and was called, where it had a price."""
    return (None,) * len(record.order.items) if record.prices is None else record.prices.lines


def _see(order_id: str) -> web.Response:
    place = f"/orders/{quote(order_id, safe='')}"
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": place})
