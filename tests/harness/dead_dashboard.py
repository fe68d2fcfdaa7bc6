"""A dashboard on a real socket, over the dead letters of an afterlife."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from dashboard.app import SECURITY_HEADERS, build_app
from dashboard.dead_letters.access import DeadLetterAccess
from dashboard.dead_letters.routes import DeadLetterRoutes
from dashboard.overview.state import Answer, BrokerState, Question, StoreState
from shared.errors import StoreUnavailable
from shared.health import Health
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.http.tokens import TokenVerifier
from tests.harness.afterlife import Afterlife
from tests.harness.dashboard import MadeUpServices
from tests.harness.endpoints import an_endpoint
from tests.harness.tokens import KEY, MemoryKeys


class NoStore:
    """The figures of the dashboard, which nobody asks for here."""

    async def read(self) -> StoreState:
        """See the port."""
        raise StoreUnavailable("not here")

    async def answer(self, question: Question) -> Answer:
        """See the port."""
        return Answer()


class NoBrokers:
    """As above."""

    def state(self) -> BrokerState:
        """See the port."""
        return BrokerState(nodes=[], queues={}, observed_at=None, age_seconds=None, silence={})


def an_app(world: Afterlife, *, token: str | None = None, bound_to: str = "127.0.0.1") -> web.Application:
    """The dashboard over the dead letters of a world."""
    access = DeadLetterAccess(
        bound_to=bound_to,
        token=SecretStr(token) if token else None,
        verifier=TokenVerifier(MemoryKeys(KEY)),
    )
    routes = DeadLetterRoutes(world.desk(), redrive=world.redrive(), drop=world.drop(), access=access)
    return build_app(
        store=NoStore(),
        brokers=NoBrokers(),
        services=MadeUpServices(),
        health=Health(),
        registry=CollectorRegistry(),
        refresh_seconds=1,
        dead_letters=routes,
    )


@asynccontextmanager
async def serving(
    world: Afterlife, *, token: str | None = None, bound_to: str = "127.0.0.1"
) -> AsyncIterator[ClientSession]:
    """A session with a dashboard on loopback that believes to be bound to ``bound_to``."""
    app = an_app(world, token=token, bound_to=bound_to)
    async with (
        serve(
            app, an_endpoint(headers=SECURITY_HEADERS, drain_seconds=0.1), HttpMetrics(CollectorRegistry())
        ) as port,
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session
