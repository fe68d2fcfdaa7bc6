"""The gateway's routes, from the ports behind them."""

from aiohttp import web

from api_gateway.order_routes import OrderRoutes
from api_gateway.ports import Intake, StockStore
from api_gateway.reference_routes import ReferenceRoutes
from api_gateway.stock_routes import StockRoutes
from shared.http.limits import HttpLimits
from shared.orders.ports import OrderReader


def build_app(
    *, intake: Intake, orders: OrderReader, stock: StockStore, limits: HttpLimits
) -> web.Application:
    """The application. It is to be served by ``serve_clients``, which turns what it raises into problems."""
    order_routes = OrderRoutes(intake, orders, limits)
    stock_routes = StockRoutes(stock, limits)
    reference = ReferenceRoutes()
    app = web.Application()
    app.router.add_post("/orders", order_routes.place)
    app.router.add_get("/orders", order_routes.list)
    app.router.add_get("/orders/{id}", order_routes.show)
    app.router.add_get("/inventory", stock_routes.list)
    app.router.add_get("/inventory/{sku}", stock_routes.show)
    app.router.add_put("/inventory/{sku}", stock_routes.set)
    app.router.add_patch("/inventory/{sku}", stock_routes.adjust)
    app.router.add_get("/openapi.json", reference.openapi)
    app.router.add_get("/docs", reference.docs)
    return app
