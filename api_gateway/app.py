"""The gateway's application, from the ports behind its routes."""

from collections.abc import Sequence
from typing import Final

from aiohttp import web

from api_gateway.move_routes import MoveRoutes
from api_gateway.one_list import LedgerOrders
from api_gateway.order_events import OrderEvents
from api_gateway.order_routes import OrderRoutes
from api_gateway.ports import Budget, Intake, Moves, StockStore
from api_gateway.routes import INFO, events_route, move_route, order_table, stock_table
from api_gateway.stock_routes import StockRoutes
from shared.http.bodies import JsonBodies
from shared.http.client import AskedService
from shared.http.guard import Guard
from shared.http.limits import Gate, HeavyWork, HttpLimits
from shared.http.openapi import described
from shared.http.routes import Route, application
from shared.orders.ports import OrderReader
from shared.products.routes import product_stock_route

LISTS_AT_ONCE: Final = 2
"""Each reads and writes up to a mebibyte. Orders have places of their own."""


def build_app(routes: Sequence[Route], guard: Guard) -> web.Application:
    """The application of its own routes and those of services behind it.

    It is to be served by ``serve``, which turns what it raises into problems.
    """
    return application(described(INFO, routes, guard), guard, prefixes=INFO.prefixes)


def table(
    *,
    intake: Intake,
    orders: OrderReader,
    moves: Moves,
    ledger: AskedService,
    stock: StockStore,
    budget: Budget,
    limits: HttpLimits,
    events: OrderEvents,
) -> tuple[Route, ...]:
    """The routes that it answers itself, but for its pages and the one that describes them."""
    bodies, lists = JsonBodies(limits), HeavyWork(at_once=LISTS_AT_ONCE)
    gate = Gate(limits.max_concurrent_requests)
    older = LedgerOrders(ledger)
    order_routes = OrderRoutes(intake, orders, older, budget=budget, bodies=bodies, lists=lists, gate=gate)
    stock_routes = StockRoutes(stock, bodies, lists)
    return (
        *order_table(order_routes),
        events_route(events),
        move_route(MoveRoutes(orders, moves, older, bodies=bodies, gate=gate)),
        *stock_table(stock_routes),
        product_stock_route(lambda _: stock_routes.change_product),
    )
