"""A dashboard over figures that a test makes up."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from aiohttp import ClientResponse, ClientSession
from prometheus_client import CollectorRegistry

from dashboard.access import OperatorAccess
from dashboard.app import SECURITY_HEADERS, build_app
from dashboard.live.feed import Feed
from dashboard.live.routes import LiveRoutes
from dashboard.overview.state import (
    Answer,
    BrokerState,
    NodeState,
    NodeStatus,
    Question,
    QueueState,
    ServiceState,
    StoreServer,
    StoreState,
)
from dashboard.overview.whole import Overview
from dashboard.rendering import Pages
from shared.errors import StoreUnavailable
from shared.health import Health
from shared.http.limits import Gate
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.keyspace import NotificationStatus
from shared.metrics import new_registry
from shared.orders.model import OrderStatus, Trouble
from shared.pipeline import CONSUMPTIONS, queues
from shared.service.lifecycle import running
from shared.services import SERVICES as REGISTRY
from tests.harness.endpoints import an_endpoint
from tests.harness.http_gateway import NoSteps

NODES = ("rabbitmq1@localhost", "rabbitmq2@localhost", "rabbitmq3@localhost")
READ_AT = datetime(2025, 11, 21, 8, 30, 5, tzinfo=UTC)

STORE = StoreState(
    read_at=READ_AT,
    processed=1601,
    orders={
        OrderStatus.ACCEPTED: 7,
        OrderStatus.CREATED: 1503,
        OrderStatus.REJECTED: 98,
    },
    notifications={
        NotificationStatus.SENDING: 1,
        NotificationStatus.SENT: 1600,
        NotificationStatus.FAILED: 0,
        NotificationStatus.DECLINED: 0,
    },
    outbox=2,
    outbox_oldest_seconds=0.25,
    trouble={Trouble.RETRYING: 0, Trouble.DEAD: 0},
    oldest_seconds={OrderStatus.ACCEPTED: 1.5},
    untold=1,
    untold_oldest_seconds=0.5,
    unpaid=2,
    unpaid_late_seconds=0.2,
    log_entries=4_803,
    unwritten_oldest_seconds=0.25,
    unpromised_oldest_seconds=0.5,
    server=StoreServer(
        memory_bytes=8_000_000, memory_limit_bytes=400_000_000, clients=12, commands=70_000, is_writing=True
    ),
    inventory={"cable": 368, "mag-safe-phone-case": 98},
    skus=2,
)


SERVICES = tuple(ServiceState(name=name, replicas=1, ready=1) for name in REGISTRY)


def whole_brokers() -> BrokerState:
    """Three nodes that run, and every queue as it should be."""
    consumed = {consumption.queue for consumption in CONSUMPTIONS}
    return BrokerState(
        nodes=[NodeState(node=node, status=NodeStatus.RUNNING) for node in NODES],
        queues={
            queue.name: QueueState(
                name=queue.name,
                ready=0,
                unacked=0,
                consumers=1 if queue.name in consumed else 0,
                members=NODES,
                online=NODES,
                leader=NODES[0],
            )
            for queue in queues()
        },
        observed_at=READ_AT,
        age_seconds=1.5,
        silence={},
    )


def with_queue(broker: BrokerState, queue: QueueState) -> BrokerState:
    """The same brokers with another state of one queue."""
    return replace(broker, queues={**broker.queues, queue.name: queue})


def with_nodes(broker: BrokerState, nodes: Sequence[NodeState]) -> BrokerState:
    """The same brokers with other nodes."""
    return replace(broker, nodes=nodes)


@dataclass(slots=True)
class MadeUpStore:
    """A store reader that says what it was told to say; ``away`` makes it fail."""

    figures: StoreState = STORE
    answers: dict[Question, Answer] = field(default_factory=dict)
    away: bool = False

    async def read(self) -> StoreState:
        """See the port."""
        if self.away:
            raise StoreUnavailable("Redis did not answer within 1 s")
        return self.figures

    async def counts(self) -> tuple[int, int]:
        """Those of the figures."""
        figures = await self.read()
        return figures.processed or 0, figures.notifications[NotificationStatus.SENT] or 0

    async def answer(self, question: Question) -> Answer:
        """See the port."""
        if self.away:
            raise StoreUnavailable("Redis did not answer within 1 s")
        return self.answers.get(question, Answer())


@dataclass(slots=True)
class MadeUpBrokers:
    """A broker observer that says what it was told to say."""

    seen: BrokerState = field(default_factory=whole_brokers)

    def state(self) -> BrokerState:
        """See the port."""
        return self.seen


@dataclass(slots=True)
class MadeUpServices:
    """A service observer that says what it was told to say."""

    seen: Sequence[ServiceState] = SERVICES

    def states(self) -> Sequence[ServiceState]:
        """What was seen."""
        return self.seen

    def cache_fault(self) -> str | None:
        """See the port."""
        return None


class Dashboard:
    """The dashboard's application behind a real port, and what it is told."""

    def __init__(self, gateway_url: str | None = None) -> None:
        self.store = MadeUpStore()
        self.brokers = MadeUpBrokers()
        self.services = MadeUpServices()
        self.health = Health()
        overview = Overview(self.store, self.brokers, self.services)
        self.feed = Feed(NoSteps(), overview.attention)
        access = OperatorAccess(bound_to="127.0.0.1", token=None)
        self.app = build_app(
            overview=overview,
            health=self.health,
            registry=new_registry(),
            pages=Pages(refresh_seconds=1),
            access=access,
            gateway_url=gateway_url,
            further=(LiveRoutes(self.feed, access, Gate(10)),),
        )
        self.url = ""
        self.client: ClientSession

    async def get(self, path: str, **headers: str) -> ClientResponse:
        """GET; header names with underscores for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self.client.get(path, headers=named)
        await response.read()
        return response


@asynccontextmanager
async def dashboard(gateway_url: str | None = None) -> AsyncIterator[Dashboard]:
    """Serves a dashboard for the block."""
    served = Dashboard(gateway_url)
    endpoint = an_endpoint(headers=SECURITY_HEADERS)
    async with serve(served.app, endpoint, HttpMetrics(CollectorRegistry())) as port:
        served.url = f"http://127.0.0.1:{port}/"
        feed = served.feed
        async with ClientSession(served.url) as served.client, running(feed.run_steps(), feed.run_verdicts()):
            yield served
            feed.close()
