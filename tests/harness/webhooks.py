"""Webhooks on a database and a clock of the tests' own, and receivers on loopback."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from aiohttp import ClientSession, web
from prometheus_client import CollectorRegistry

from shared.http.bodies import JsonBodies
from shared.http.guard import Guard
from shared.http.limits import Gate, HttpLimits
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.sql.database import Database, open_database
from shared.sql.migrations import migrations_of
from tests.harness.endpoints import an_endpoint
from webhooks.deliveries import DeliveryStore
from webhooks.endpoints import EndpointStore
from webhooks.figures import WebhookFigures
from webhooks.log import DeliveryLog, LoggedDelivery
from webhooks.main import build_app
from webhooks.model import (
    OPERATORS,
    SECOND,
    ClaimedDelivery,
    DeliveryAttempt,
    Told,
    WebhookEndpoint,
    owner_of,
)
from webhooks.outcomes import OutcomeStore
from webhooks.routes import WebhookRoutes
from webhooks.sender import WebhookSender

AT: Final = 1_800_000_000 * SECOND
CREATED: Final = "order.created.v1"
LEASE_SECONDS: Final = 60.0
DAY: Final = 86_400.0
MONTH: Final = 30 * DAY


def told(event_id: str, customer: str | None = None, event_type: str = CREATED) -> Told:
    """An event about an order."""
    return Told(
        event_id=event_id,
        event_type=event_type,
        order_id=event_id.partition(":")[0],
        owner=owner_of(customer),
        at=AT,
        body=json.dumps({"id": event_id, "type": event_type}),
    )


@dataclass(slots=True)
class SetClock:
    """Stands still but for what tests add, in microseconds since the epoch."""

    now: int = AT

    def __call__(self) -> int:
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Time goes on."""
        self.now += int(seconds * SECOND)


class ScriptedReceivers:
    """Answers each URL with a status, or an exception's text, at the time of the clock."""

    def __init__(self, clock: SetClock) -> None:
        self._clock = clock
        self.answers: dict[str, int | str] = {}
        self.refused: set[int] = set()
        self.retry_after: dict[str, float] = {}
        self.milliseconds: dict[str, int] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.calls: list[tuple[str, int]] = []
        self.most_at_once: dict[str, int] = {}
        self._at_once: dict[str, int] = {}

    async def post(self, claimed: ClaimedDelivery) -> DeliveryAttempt:
        """As the port has it."""
        url = claimed.url
        self.calls.append((url, claimed.sequence))
        self._at_once[url] = self._at_once.get(url, 0) + 1
        self.most_at_once[url] = max(self.most_at_once.get(url, 0), self._at_once[url])
        if url in self.held:
            await self.held[url].wait()
        self._at_once[url] -= 1
        answer = 500 if claimed.sequence in self.refused else self.answers.get(url, 204)
        return DeliveryAttempt(
            at=self._clock(),
            milliseconds=self.milliseconds.get(url, 1),
            status=answer if isinstance(answer, int) else None,
            error=None if isinstance(answer, int) else answer,
            retry_after_seconds=self.retry_after.get(url, 0.0),
        )

    def of(self, url: str) -> list[int]:
        """The numbers that a receiver was called with."""
        return [sequence for called, sequence in self.calls if called == url]


class MiddleOfTheRoad(random.Random):
    """Leaves no jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


@dataclass(slots=True)
class WebhookWorld:
    """All of webhooks but HTTP and the broker."""

    database: Database
    clock: SetClock = field(default_factory=SetClock)
    most: int = 20
    endpoints: EndpointStore = field(init=False)
    deliveries: DeliveryStore = field(init=False)
    outcomes: OutcomeStore = field(init=False)
    log: DeliveryLog = field(init=False)
    receivers: ScriptedReceivers = field(init=False)
    sender: WebhookSender = field(init=False)

    def __post_init__(self) -> None:
        database, clock = self.database, self.clock
        self.endpoints = EndpointStore(database, clock, most=self.most, grace_seconds=DAY)
        self.deliveries = DeliveryStore(database, clock, lease_seconds=LEASE_SECONDS)
        self.outcomes = OutcomeStore(database, MiddleOfTheRoad())
        self.log = DeliveryLog(database, clock, retention_seconds=MONTH)
        self.receivers = ScriptedReceivers(clock)
        self.sender = self.a_sender()

    def a_sender(self, at_once: int = 8, per_endpoint: int = 2) -> WebhookSender:
        """A replica's."""
        return WebhookSender(
            self.deliveries,
            self.outcomes,
            self.receivers,
            WebhookFigures(CollectorRegistry()),
            at_once=at_once,
            per_endpoint=per_endpoint,
        )

    async def endpoint(
        self, url: str, owner: str = OPERATORS, events: Sequence[str] = (CREATED,)
    ) -> WebhookEndpoint:
        """A new one."""
        return (await self.endpoints.create(owner, url, events, ""))[0]

    async def record(self, *event_ids: str, customer: str | None = None) -> int | None:
        """Events happen."""
        return await self.deliveries.record([told(each, customer) for each in event_ids])

    async def send(self) -> int:
        """Attempts what is due now until nothing is; how many."""
        count = 0
        while True:
            async with asyncio.TaskGroup() as attempts:
                begun = await self.sender.begin(attempts)
            if not begun:
                return count
            count += begun

    async def send_until(self, seconds: float, step_seconds: float) -> None:
        """Time goes on by steps, after each of which what is due is attempted."""
        end = self.clock() + int(seconds * SECOND)
        await self.send()
        while self.clock() < end:
            self.clock.pass_by(step_seconds)
            await self.send()

    async def standing(self, endpoint: WebhookEndpoint) -> Mapping[int, LoggedDelivery]:
        """Every delivery by its number, lowest first."""
        page = await self.log.page(endpoint.id, None, None, 1_000)
        return {each.sequence: each for each in reversed(page)}


@asynccontextmanager
async def webhook_world(database_url: str, *, most: int = 20) -> AsyncIterator[WebhookWorld]:
    """On an empty database."""
    async with open_database(database_url, migrations_of("webhooks"), timeout_seconds=30) as database:
        await database.look()
        assert database.unready_reason() is None
        yield WebhookWorld(database, most=most)


@asynccontextmanager
async def served_webhooks(world: WebhookWorld, guard: Guard) -> AsyncIterator[ClientSession]:
    """The HTTP API over it, on a free port of loopback."""
    limits = HttpLimits()
    routes = WebhookRoutes(
        world.endpoints,
        world.log,
        world.sender.wake,
        bodies=JsonBodies(limits),
        gate=Gate(10),
        is_private_allowed=False,
    )
    async with (
        serve(build_app(routes, guard), an_endpoint(limits=limits), HttpMetrics(CollectorRegistry())) as port,
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


async def _taken(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=204)


@dataclass(slots=True)
class Receiver:
    """An HTTP server of a receiver: what it got, and how it answers."""

    port: int = 0
    got: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = _taken

    def url(self, host: str = "127.0.0.1") -> str:
        """Where it is."""
        return f"http://{host}:{self.port}/hook"


@asynccontextmanager
async def receiver(host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """A receiver on a free port of loopback."""
    made = Receiver()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        made.got.append((dict(request.headers), await request.read()))
        return await made.answer(request)

    server = web.Server(handle)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, 0)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()
