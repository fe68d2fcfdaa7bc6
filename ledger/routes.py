"""What the routes about orders and their history do, over the ledger."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from ledger.reading import LedgerReader, last_told
from shared.history.earlier import is_order_id
from shared.history.listing import (
    DAYS,
    ORDER_ID,
    TOLD_CURSOR,
    BoundedPage,
    order_cursor,
    orders_asked_for,
)
from shared.history.ownership import may_see, visible_to
from shared.history.schemas import as_json, order_summary, order_view
from shared.http.answers import json_response
from shared.http.auth import caller_of
from shared.http.clients import client_of
from shared.http.conditions import etag
from shared.http.limits import Gate, HeavyWork
from shared.http.listing import LIMIT, cursor_text, read_parameters
from shared.http.problems import NOT_FOUND, Problem
from shared.http.routes import Handler

LISTS_AT_ONCE: Final = 4


class HistoryRoutes:
    """Shows what the ledger has to who may see it; a bounded number of requests at a time."""

    def __init__(self, reader: LedgerReader, gate: Gate) -> None:
        self._reader = reader
        self._gate = gate
        self._lists = HeavyWork(at_once=LISTS_AT_ONCE)
        self._handlers: Mapping[str, Handler] = {
            "listOrders": self.orders,
            "getOrder": self.order,
            "listNotifications": self.notifications,
            "getOrderStatistics": self.statistics,
        }

    def handler(self, name: str) -> Handler:
        """What answers the route of this name, as long as not too many are at work."""
        return self._gate.around(self._handlers[name])

    async def orders(self, request: web.Request) -> web.Response:
        """``GET /orders``"""
        wanted, limit, after = orders_asked_for(request)
        if wanted is None:
            return json_response({"orders": [], "next_cursor": None})
        async with self._lists.turn(client_of(request)):
            found = await self._reader.orders(wanted, limit + 1, after)
            page = BoundedPage(limit)
            for record in found:
                if not page.take(as_json(order_summary(record))):
                    break
            cursor = None
            if len(found) > len(page.shown):
                last = found[len(page.shown) - 1]
                cursor = order_cursor(last.accepted_at_microseconds, last.order.id)
            return json_response({"orders": page.shown, "next_cursor": cursor})

    async def order(self, request: web.Request) -> web.Response:
        """``GET /orders/{id}``"""
        order_id = request.match_info["id"]
        record = await self._reader.order(order_id) if is_order_id(order_id) else None
        if record is None or not may_see(caller_of(request), record.customer):
            raise Problem(NOT_FOUND, "There is no such order.")
        return json_response(
            as_json(order_view(record, last_told(record))), headers={"ETag": etag(record.version)}
        )

    async def notifications(self, request: web.Request) -> web.Response:
        """``GET /notifications``"""
        asked = read_parameters(request, order_id=ORDER_ID, limit=LIMIT, cursor=TOLD_CURSOR)
        visible = visible_to(caller_of(request), None)
        if visible is None:
            return json_response({"notifications": [], "next_cursor": None})
        async with self._lists.turn(client_of(request)):
            found, more = await self._reader.told(visible, asked["order_id"], asked["limit"], asked["cursor"])
            cursor = None if more is None else cursor_text(":".join(map(str, more)))
            return json_response(
                {"notifications": [as_json(view) for _, view in found], "next_cursor": cursor}
            )

    async def statistics(self, request: web.Request) -> web.Response:
        """``GET /orders/stats``"""
        asked = read_parameters(request, days=DAYS)
        return json_response(await self._reader.statistics(asked["days"]))
