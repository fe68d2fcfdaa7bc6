"""The routes that other services answer, as the gateway has them."""

from collections.abc import Sequence

from api_gateway.product_reads import ProductReads, StockNow
from api_gateway.routes import API_V1
from api_gateway.session_routes import SessionRoutes
from api_gateway.statistics import statistics_route
from shared.customers.routes import customer_table
from shared.history.routes import history_table
from shared.http.client import AskedService
from shared.http.forwarding import Forwarding
from shared.http.limits import HttpLimits
from shared.http.routes import Route
from shared.products.routes import product_table
from shared.webhooks.routes import webhook_table


def routes_behind(
    accounts: AskedService,
    catalogue: AskedService,
    ledger: AskedService,
    webhooks: AskedService,
    stock: StockNow,
    limits: HttpLimits,
) -> Sequence[Route]:
    """What accounts, catalogue, ledger and webhooks answer, and what takes several of them: sessions of
    browsers, which are accounts' too, and statistics.
    """
    customers = Forwarding(accounts, limits, prefix=API_V1)
    products = ProductReads(Forwarding(catalogue, limits, prefix=API_V1), stock)
    return (
        *customer_table(customers.handler),
        *SessionRoutes(accounts, limits).table(),
        *product_table(products.handler),
        *history_table(Forwarding(ledger, limits, prefix=API_V1).handler),
        *webhook_table(Forwarding(webhooks, limits, prefix=API_V1).handler),
        statistics_route(orders=ledger, products=catalogue, users=accounts),
    )
