"""The route by which an order moves on."""

from collections.abc import Collection
from typing import Final

import orjson
from aiohttp import web

from api_gateway.headers import idempotency_key
from api_gateway.one_list import LedgerOrders
from api_gateway.ports import Moves
from api_gateway.problems import ILLEGAL_MOVE, KEY_REUSED, NOT_MOVABLE, NOT_PAID, ORDER_CHANGED
from api_gateway.validation import read_status_change
from shared.history.earlier import is_order_id
from shared.history.ownership import may_see
from shared.history.schemas import as_json, order_view
from shared.http.answers import json_response
from shared.http.auth import Caller, Role, caller_of
from shared.http.bodies import JsonBodies
from shared.http.conditions import etag, expected_versions
from shared.http.forwarding import handed_on
from shared.http.limits import Gate
from shared.http.problems import FORBIDDEN, NOT_FOUND, Problem
from shared.logs import get_logger
from shared.messages import is_identifier
from shared.orders.model import OrderStatus
from shared.orders.moves import (
    IllegalMove,
    Move,
    Moved,
    MoveKeyReused,
    MoveResult,
    NotMovable,
    OtherVersion,
    Unpaid,
    refusal,
)
from shared.orders.ports import OrderReader
from shared.orders.records import OrderRecord

NO_VERSION: Final = -1
"""Of no order."""

log = get_logger(__name__)


class MoveRoutes:
    """Moves orders on: operators all of them, customers their own to their cancellation."""

    def __init__(
        self, orders: OrderReader, moves: Moves, ledger: LedgerOrders, *, bodies: JsonBodies, gate: Gate
    ) -> None:
        self._orders = orders
        self._ledger = ledger
        self._moves = moves
        self._bodies = bodies
        self._gate = gate

    async def move(self, request: web.Request) -> web.Response:
        """``PATCH /orders/{id}/status``"""
        order_id, caller = request.match_info["id"], caller_of(request)
        key, versions = idempotency_key(request), expected_versions(request)
        asked = read_status_change(await self._bodies.read(request))
        with self._gate:
            record = await self._record(order_id, caller)
            if record is None:
                raise await self._ended(order_id, request)
            if caller.role is Role.CUSTOMER and asked.status is not OrderStatus.CANCELLED:
                raise Problem(FORBIDDEN, "Customers cancel their orders; other moves are an operator's.")
            move = Move(
                order_id=order_id,
                to=asked.status,
                by=caller.id or Role.OPERATOR.value,
                reason=asked.reason,
                version=_version(record.version, versions),
                key=key,
            )
            _refuse(await self._moves.move(record, move))
            log.info("order moved", order_id=order_id, to=move.to.value, by=move.by)
            record = await self._record(order_id, caller) or record
            told = await self._orders.notification(order_id)
        return json_response(as_json(order_view(record, told)), headers={"ETag": etag(record.version)})

    async def _record(self, order_id: str, caller: Caller) -> OrderRecord | None:
        record = await self._orders.get(order_id) if is_identifier(order_id) else None
        if record is not None and not may_see(caller, record.customer):
            raise Problem(NOT_FOUND, "There is no such order.")
        return record

    async def _ended(self, order_id: str, request: web.Request) -> Problem:
        """Why an order cannot be moved of which the ledger alone knows: it has come to its end."""
        older = await self._ledger.get(order_id, handed_on(request)) if is_order_id(order_id) else None
        if older is None:
            return Problem(NOT_FOUND, "There is no such order.")
        return _problem(IllegalMove(status=OrderStatus(orjson.loads(older.body)["status"])))


def _version(own: int, expected: Collection[int] | None) -> int | None:
    """The version that the move rests on; whether it is still the order's is asked where the key is known."""
    if expected is None:
        return None
    return own if own in expected else NO_VERSION


def _refuse(result: MoveResult) -> None:
    if not isinstance(result, Moved):
        raise _problem(result)


def _problem(result: IllegalMove | Unpaid | OtherVersion | MoveKeyReused | NotMovable) -> Problem:
    detail = refusal(result) or ""
    match result:
        case IllegalMove(status=status, allowed=allowed):
            return Problem(ILLEGAL_MOVE, detail, members={"order_status": status, "allowed": allowed})
        case Unpaid(status=status, allowed=allowed, payment=payment):
            members = {"order_status": status, "allowed": allowed, "payment": payment}
            return Problem(NOT_PAID, detail, members=members)
        case OtherVersion(version=version):
            return Problem(ORDER_CHANGED, detail, headers={"ETag": etag(version)})
        case MoveKeyReused():
            return Problem(KEY_REUSED, detail)
        case NotMovable():
            return Problem(NOT_MOVABLE, detail)
