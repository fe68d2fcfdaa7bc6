"""The routes about orders."""

from dataclasses import replace
from functools import partial
from typing import Final

from aiohttp import web

from api_gateway.headers import idempotency_key
from api_gateway.one_list import LedgerOrders, OneList
from api_gateway.ports import Budget, Intake, NotDurable
from api_gateway.problems import (
    BROKEN_PRODUCT,
    DUPLICATE_ORDER,
    KEY_REUSED,
    NOT_DURABLE,
    OUTBOX_FULL,
    OWN_SCHEDULE_FULL,
    PRICE_CHANGED,
    SCHEDULE_FULL,
    SEVERAL_CURRENCIES,
    STORE_SHORT,
    UNKNOWN_PRODUCTS,
)
from api_gateway.schemas import (
    in_words,
    price_changed_members,
    receipt_json,
    received,
)
from api_gateway.validation import RequestedOrder, read_order, read_sound_order
from shared.history.earlier import is_order_id
from shared.history.listing import orders_asked_for
from shared.history.ownership import may_see, own_address
from shared.history.schemas import as_json, order_path, order_view
from shared.http import negotiation
from shared.http.answers import json_response
from shared.http.auth import Caller, actor_of, caller_of
from shared.http.bodies import JsonBodies
from shared.http.conditions import etag
from shared.http.edge import TRACE
from shared.http.forwarding import handed_back, handed_on
from shared.http.limits import Gate, HeavyWork
from shared.http.problems import NOT_FOUND, Problem
from shared.ids import time_ordered_id
from shared.logs import get_logger
from shared.messages import Order, is_identifier
from shared.orders.placement import (
    Accepted,
    BrokenProduct,
    Duplicate,
    KeyReused,
    OutboxFull,
    OwnScheduleFull,
    Placement,
    PlacementResult,
    PriceChanged,
    Replayed,
    ScheduleFull,
    SeveralCurrencies,
    UnknownProducts,
    Unpriceable,
)
from shared.orders.ports import OrderReader

PLAIN_TEXT: Final = "text/plain"
BROKEN_PRICE: Final = (
    "{} in the store has no price that can be read. The catalogue sets it right within a minute if it has "
    "the product; else it takes an operator, who removes the key or gives it a unit_amount and a currency."
)

log = get_logger(__name__)


class OrderRoutes:
    """Places, shows and lists orders; a bounded number of requests at a time."""

    def __init__(
        self,
        intake: Intake,
        orders: OrderReader,
        ledger: LedgerOrders,
        *,
        budget: Budget,
        bodies: JsonBodies,
        lists: HeavyWork,
        gate: Gate,
    ) -> None:
        self._intake = intake
        self._budget = budget
        self._orders = orders
        self._ledger = ledger
        self._one_list = OneList(orders, ledger)
        self._bodies = bodies
        self._lists = lists
        self._gate = gate

    async def place(self, request: web.Request) -> web.Response:
        """``POST /orders``"""
        key = idempotency_key(request)
        body = await self._bodies.raw(request)
        requested = read_sound_order(body, id_required=key is None)
        if requested is None:
            value = await self._bodies.parsed(request, body)
            requested = read_order(value, id_required=key is None)
        with self._gate:
            media_type = _media_type(request)
            client, placement = actor_of(request), _placement(request, requested, key, media_type)
            if not self._budget.has_room(client, placement.order):
                placement = replace(placement, has_room=False)
            result = await self._taken(placement)
        if isinstance(result, Accepted):
            self._budget.stored(client, placement.order)
            log.info("order accepted", order_id=result.order_id, by=client)
        return _answer(placement.order, result, media_type, caller_of(request))

    async def _taken(self, placement: Placement) -> PlacementResult:
        try:
            return await self._intake.place(placement)
        except OutboxFull as error:
            if not placement.has_room:
                detail = (
                    "The store has too little memory left for this order. Nothing was accepted: ask later."
                )
                raise Problem(STORE_SHORT, detail) from error
            detail = "Too many orders wait for a broker. Nothing was accepted: ask later."
            raise Problem(OUTBOX_FULL, detail) from error
        except ScheduleFull as error:
            raise Problem(SCHEDULE_FULL, f"Nothing was accepted: {error}.") from error
        except OwnScheduleFull as error:
            raise Problem(OWN_SCHEDULE_FULL, f"Nothing was accepted: {error}.") from error
        except NotDurable as error:
            log.warning("request refused", reason=str(error))
            detail = "No broker confirmed the order, and the store may forget it. Ask again with the same id."
            raise Problem(NOT_DURABLE, detail) from error

    async def show(self, request: web.Request) -> web.Response:
        """``GET /orders/{id}``"""
        order_id = request.match_info["id"]
        with self._gate:
            record = await self._orders.get(order_id) if is_identifier(order_id) else None
        if record is None and is_order_id(order_id):
            older = await self._ledger.get(order_id, handed_on(request))
            if older is not None:
                return handed_back(older)
        if record is None or not may_see(caller_of(request), record.customer):
            raise Problem(NOT_FOUND, "There is no such order.")
        told = await self._orders.notification(order_id)
        return json_response(as_json(order_view(record, told)), headers={"ETag": etag(record.version)})

    async def list(self, request: web.Request) -> web.Response:
        """``GET /orders``"""
        wanted, limit, after = orders_asked_for(request)
        if wanted is None:
            return json_response({"orders": [], "next_cursor": None})
        turn = partial(self._lists.turn, actor_of(request))
        page = self._one_list.page(wanted, limit, after, headers=handed_on(request), turn=turn)
        return json_response(await page)


def _media_type(request: web.Request) -> str:
    return negotiation.preferred(",".join(request.headers.getall("Accept", ())), (PLAIN_TEXT,))


def _placement(
    request: web.Request, requested: RequestedOrder, key: str | None, media_type: str
) -> Placement:
    caller = caller_of(request)
    order = sent = Order(id=requested.id or time_ordered_id(), items=requested.items, email=requested.email)
    if sent.email is None and (address := own_address(caller)):
        order = replace(sent, email=address)
    return Placement(
        order=order,
        sent=None if order is sent else sent,
        customer=caller.customer,
        client_named_id=requested.id is not None,
        idempotency_key=key,
        media_type=media_type,
        trace=request[TRACE],
        expected=requested.expected,
        not_before=requested.begins,
    )


def _answer(order: Order, result: PlacementResult, media_type: str, caller: Caller) -> web.Response:
    match result:
        case Accepted():
            return _receipt(result, media_type)
        case Replayed():
            response = _receipt(result, result.media_type)
            response.headers["Idempotent-Replayed"] = "true"
            return response
        case Duplicate():
            return _duplicate(result, media_type, is_known=may_see(caller, result.customer))
        case KeyReused():
            raise Problem(
                KEY_REUSED,
                "This Idempotency-Key was sent before, with other content.",
                headers={"Location": order_path(result.order_id)},
            )
    raise _not_for_this_price(order, result)


def _receipt(result: Accepted | Replayed, media_type: str) -> web.Response:
    location = {"Location": order_path(result.order_id)}
    if media_type == PLAIN_TEXT:
        return web.Response(status=202, text=received(result.order_id), headers=location)
    receipt = receipt_json(result.order_id, result.prices, result.not_before)
    return json_response(receipt, status=202, headers=location)


def _not_for_this_price(order: Order, result: Unpriceable) -> Problem:
    match result:
        case PriceChanged():
            detail = f"Nothing was accepted, since {in_words(order, result.prices)}."
            return Problem(PRICE_CHANGED, detail, members=price_changed_members(order, result.prices))
        case SeveralCurrencies():
            named = ", ".join(result.currencies)
            detail = f"The products have their prices in {named}. Order each currency by itself."
            return Problem(SEVERAL_CURRENCIES, detail, members={"currencies": result.currencies})
        case UnknownProducts():
            named = ", ".join(result.skus[:5])
            detail = f"There is no product {named}" + (", and others." if len(result.skus) > 5 else ".")
            return Problem(UNKNOWN_PRODUCTS, detail, members={"skus": result.skus})
        case BrokenProduct():
            log.warning("request refused", reason=f"{result.key} has no price that can be read")
            return Problem(BROKEN_PRODUCT, f"Nothing was accepted. {BROKEN_PRICE.format(result.key)}")


def _duplicate(result: Duplicate, media_type: str, *, is_known: bool) -> web.Response:
    """Of an order that the caller may not know of, only that its id is taken."""
    location = {"Location": order_path(result.order_id)} if is_known else {}
    if media_type == PLAIN_TEXT:
        return web.Response(status=DUPLICATE_ORDER.status, text=DUPLICATE_ORDER.title, headers=location)
    members = {"order_status": result.status, "same_content": result.same_content}
    raise Problem(
        DUPLICATE_ORDER,
        f"An order with the id {result.order_id} exists.",
        headers=location,
        members=members if is_known else {},
    )
