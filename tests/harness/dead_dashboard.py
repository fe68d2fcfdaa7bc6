"""A dashboard on a real socket, over the dead letters of an afterlife."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from dashboard.access import OperatorAccess
from dashboard.app import SECURITY_HEADERS, build_app
from dashboard.dead_letters.pages import DeadLetterPages
from dashboard.dead_letters.routes import DeadLetterRoutes
from dashboard.live.feed import Feed
from dashboard.live.routes import LiveRoutes
from dashboard.orders.routes import OrderPages
from dashboard.orders.store import OrderFinder
from dashboard.overview.state import Answer, BrokerState, Question, StoreState
from dashboard.overview.whole import Overview
from dashboard.rendering import Pages
from dashboard.stock.routes import StockPages
from dashboard.stock.store import StockShelf
from dashboard.visiting import Visits
from shared.errors import StoreUnavailable
from shared.health import Health
from shared.http.limits import Gate
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.http.tokens import TokenVerifier
from shared.orders.redis.listing import RedisOrderReader
from shared.orders.redis.log import OrderLog
from shared.orders.redis.moves import RedisMoves
from shared.redis.stock import StockReader
from shared.service.lifecycle import running
from tests.harness.afterlife import SECONDS, Afterlife
from tests.harness.dashboard import MadeUpServices
from tests.harness.endpoints import an_endpoint
from tests.harness.tokens import KEY, MemoryKeys

SHOP_URL = "http://shop.example/shop"
BROWSER = {"Accept": "text/html,*/*;q=0.8"}


async def page(session: ClientSession, path: str, status: int = 200) -> str:
    """The HTML that a browser gets."""
    async with session.get(path, headers=BROWSER) as answer:
        assert answer.status == status, await answer.text()
        assert answer.content_type == "text/html"
        return await answer.text()


class NoStore:
    """The figures of the dashboard, which nobody asks for here."""

    async def read(self) -> StoreState:
        """See the port."""
        raise StoreUnavailable("not here")

    async def counts(self) -> tuple[int, int]:
        """None yet."""
        return 0, 0

    async def answer(self, question: Question) -> Answer:
        """See the port."""
        return Answer()


class NoBrokers:
    """As above."""

    def state(self) -> BrokerState:
        """See the port."""
        return BrokerState(nodes=[], queues={}, observed_at=None, age_seconds=None, silence={})


def a_feed(world: Afterlife) -> Feed:
    """What happens to the orders of a world, whose system is always well."""

    async def attention() -> Sequence[str]:
        return ()

    return Feed(OrderLog(world.redis, timeout_seconds=SECONDS), attention)


def an_app(
    world: Afterlife, feed: Feed, *, token: str | None = None, bound_to: str = "127.0.0.1"
) -> web.Application:
    """The dashboard over the orders and the dead letters of a world."""
    access = OperatorAccess(
        bound_to=bound_to,
        token=SecretStr(token) if token else None,
        verifier=TokenVerifier(MemoryKeys(KEY)),
    )
    pages, desk, redrive, drop = Pages(refresh_seconds=30), world.desk(), world.redrive(), world.drop()
    visits = Visits(pages, access, SHOP_URL)
    orders = OrderFinder(world.redis, OrderLog(world.redis, timeout_seconds=SECONDS), timeout_seconds=SECONDS)
    stock = StockReader(world.redis, timeout_seconds=SECONDS)
    return build_app(
        overview=Overview(NoStore(), NoBrokers(), MadeUpServices()),
        health=Health(),
        registry=CollectorRegistry(),
        pages=pages,
        access=access,
        further=(
            DeadLetterRoutes(desk, redrive=redrive, drop=drop, trail=world.trail(), access=access),
            DeadLetterPages(visits, desk, redrive=redrive, drop=drop, trail=world.trail()),
            OrderPages(
                visits,
                orders,
                RedisOrderReader(world.redis, timeout_seconds=SECONDS),
                RedisMoves(world.redis, timeout_seconds=SECONDS),
                desk,
            ),
            StockPages(visits, StockShelf(world.redis, stock, timeout_seconds=SECONDS)),
            LiveRoutes(feed, access, Gate(10)),
        ),
    )


@asynccontextmanager
async def serving(
    world: Afterlife, *, token: str | None = None, bound_to: str = "127.0.0.1"
) -> AsyncIterator[ClientSession]:
    """A session with a dashboard on loopback that believes to be bound to ``bound_to``."""
    feed = a_feed(world)
    app = an_app(world, feed, token=token, bound_to=bound_to)
    async with (
        running(feed.run_steps(), feed.run_verdicts()),
        serve(
            app, an_endpoint(headers=SECURITY_HEADERS, drain_seconds=0.1), HttpMetrics(CollectorRegistry())
        ) as port,
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session
        feed.close()
