"""Real servers that take TLS with a client certificate: an order goes its way, and mistakes are told."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from orderctl.verification.promises import Promises
from orderctl.verification.session import verify
from orderctl.verification.verification import Patience
from shared.messaging.rabbitmq.broker import RabbitPublisher
from shared.messaging.rabbitmq.connection import LinkTimes
from shared.redis.client import store_deadline
from shared.redis.watch import StoreWatch
from shared.service.infrastructure import ClusterInfrastructure
from shared.service.lifecycle import running
from shared.service.program import program_of
from shared.services import SERVICES
from shared.settings import CommonSettings
from tests.harness.authority import Authority, CertificateFiles, trusting
from tests.harness.proxy import link_to
from tests.harness.secure import SecureServers, secure_servers
from tests.harness.stores import free_port
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.native]
SERVICES_OF_AN_ORDER = ("api_gateway", "order_processor", "notifier", "ledger")


@pytest.fixture(scope="module")
def servers() -> Iterator[SecureServers]:
    """One of each for all tests here."""
    with secure_servers() as started:
        yield started


@pytest.fixture(scope="module")
def client(servers: SecureServers) -> CertificateFiles:
    """What the servers let in."""
    return servers.authority.issue("client", "client")


@asynccontextmanager
async def services(servers: SecureServers) -> AsyncIterator[str]:
    """Those that an order goes through, on the servers that take TLS alone; gives the gateway's URL."""
    stop, gateway = asyncio.Event(), f"http://127.0.0.1:{(port := free_port())}"
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(stop.set)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for name in SERVICES_OF_AN_ORDER:
            program, ops_port = program_of(name), free_port()
            own_port = {"port": port if name == "api_gateway" else free_port()}
            own = program.settings(ops_port=ops_port, **(own_port if SERVICES[name].serves_clients else {}))
            common = servers.common(name)
            group.create_task(program.run(common, own, ClusterInfrastructure(common), stop))
            await _ready(session, f"http://127.0.0.1:{ops_port}/readyz")
        yield gateway


async def _ready(session: aiohttp.ClientSession, url: str) -> None:
    said = ""

    async def is_ready() -> bool:
        nonlocal said
        try:
            async with session.get(url) as answer:
                said = await answer.text()
                return answer.status == 200
        except aiohttp.ClientError as error:
            said = str(error)
            return False

    await wait_until(is_ready, what=lambda: f"{url}: {said}")


async def test_an_order_goes_from_end_to_end_over_tls(
    servers: SecureServers, client: CertificateFiles
) -> None:
    """Placed, decided, told and in the ledger, by servers that demand certificates; `verify` proves it."""
    with trusting(servers.authority.file, client):
        async with services(servers) as gateway, aiohttp.ClientSession(gateway) as session:
            async with session.put("/inventory/cable", json={"available": 1}) as put:
                assert put.status < 300
            order = {"id": "o1", "items": [{"sku": "cable", "qty": 1}]}
            async with session.post("/orders", json=order) as placed:
                assert placed.status == 202, await placed.text()

            async def is_decided() -> bool:
                async with session.get("/orders/o1") as answer:
                    return bool((await answer.json())["status"] == "created")

            await wait_until(is_decided, what="the order is decided")
            outcome = await verify(
                servers.redis_url(),
                Promises(acknowledged={"o1"}),
                management_urls=servers.common("ledger").rabbitmq_management_urls,
                ledger_url=servers.common("ledger").database_url,
                patience=Patience(pause=0.05),
            )
    assert outcome.verdict.faults() == {}


async def faults(common: CommonSettings) -> dict[str, str]:
    """Why each connection is not there, as readiness tells it; empty where all are."""
    infrastructure = ClusterInfrastructure(common)
    publisher = infrastructure.publisher("api_gateway", timeout_seconds=2.0)
    probes = (await infrastructure.management(timeout_seconds=2.0).observe()).probes
    async with (
        infrastructure.store(timeout_seconds=2.0, max_connections=1) as redis,
        infrastructure.cache(timeout_seconds=2.0, max_connections=1) as cache,
        infrastructure.database("ledger", timeout_seconds=5.0) as database,
    ):
        watches = {
            "redis": StoreWatch(redis, timeout_seconds=2.0),
            "cache": StoreWatch(cache, timeout_seconds=2.0),
        }
        for watch in watches.values():
            await watch.look()
        await database.look()
        async with running(publisher.run()):
            await wait_until(lambda: publisher.unready_reason() != "not connected yet", what="an answer")
            reason = publisher.unready_reason()
        gc.collect()  # aio-pika closes what never was connected when it goes, and needs this loop for that
        found = {
            **{name: watch.unready_reason() for name, watch in watches.items()},
            "postgres": database.unready_reason(),
            "rabbitmq": reason,
            "management": probes[0].fault,
        }
    return {name: fault for name, fault in found.items() if fault is not None}


EVERY_CONNECTION = {"redis", "cache", "postgres", "rabbitmq", "management"}


async def test_an_authority_that_did_not_sign_is_told_by_every_connection(
    servers: SecureServers, client: CertificateFiles, tmp_path: Path
) -> None:
    """With the setting; the system's own authorities are no other case."""
    for ca in (Authority(tmp_path).file, ""):
        with trusting(ca, client):
            said = await faults(servers.common("ledger"))
        assert said.keys() == EVERY_CONNECTION
        assert [f for f in said.items() if "TLS_CA_FILE" not in f[1]] == []


async def test_a_certificate_that_servers_do_not_take_is_told_by_every_connection(
    servers: SecureServers, tmp_path: Path
) -> None:
    """None at all, one of another authority, and one whose time is over."""
    stranger = Authority(tmp_path).issue("client", "client")
    expired = servers.authority.issue("late", "client", expired=True)
    for shown in (None, stranger, expired):
        with trusting(servers.authority.file, shown):
            said = await faults(servers.common("ledger"))
        assert said.keys() == EVERY_CONNECTION
        assert [f for f in said.items() if "TLS_CERT_FILE" not in f[1]] == []


async def test_a_plain_url_never_becomes_tls_nor_the_other_way_round(
    servers: SecureServers, client: CertificateFiles
) -> None:
    """PostgreSQL's driver would try one after the other, and take either."""
    common = servers.common("ledger")
    with trusting(servers.authority.file, client):
        assert await encryption(common) == "t"
        plain = common.model_copy(update={"database_url": common.database_url.partition("?")[0]})
        assert await encryption(plain) == "f"


async def encryption(common: CommonSettings) -> str:
    """What PostgreSQL says of the connection."""
    infrastructure = ClusterInfrastructure(common)
    async with infrastructure.database("ledger", timeout_seconds=5.0) as database:

        async def ask(connection: AsyncConnection) -> str:
            question = (
                "SELECT CASE WHEN ssl THEN 't' ELSE 'f' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            )
            return str(await connection.scalar(text(question)))

        return await database.transaction(ask)


async def test_a_certificate_that_runs_out_is_told_and_heals_once_it_is_renewed(
    servers: SecureServers, client: CertificateFiles
) -> None:
    """Without a restart: the store shows one whose time is over, then one for another host, then its own."""
    infrastructure = ClusterInfrastructure(servers.common("ledger"))
    with trusting(servers.authority.file, client):
        async with infrastructure.store(timeout_seconds=2.0, max_connections=1) as redis:
            watch = StoreWatch(redis, timeout_seconds=2.0)

            async def told(shown: CertificateFiles) -> str | None:
                servers.show_redis(shown)
                await redis.connection_pool.disconnect()
                await watch.look()
                return watch.unready_reason()

            assert await told(servers.shown) is None
            try:
                late, other = (
                    servers.authority.issue("stale", expired=True),
                    servers.authority.issue("other", "h"),
                )
                assert "its certificate has expired" in str(await told(late))
                assert "for another host name" in str(await told(other))
            finally:
                servers.show_redis(servers.shown)
            async with store_deadline(2.0):
                assert await redis.ping()


async def test_another_node_is_taken_over_tls_when_one_is_gone(
    servers: SecureServers, client: CertificateFiles
) -> None:
    """The way of plain connections: every URL in its turn."""
    second = urlsplit(servers.common("api_gateway").rabbitmq_urls[0])
    async with AsyncExitStack() as stack:
        stack.enter_context(trusting(servers.authority.file, client))
        link, port = await stack.enter_async_context(link_to("127.0.0.1", servers.ports.amqp))
        first = second._replace(netloc=second.netloc.replace(f":{second.port}", f":{port}"))
        times = LinkTimes()
        publisher = RabbitPublisher(
            (first.geturl(), second.geturl()), name="api_gateway", timeout_seconds=2.0, times=times
        )
        await stack.enter_async_context(running(publisher.run()))
        await publisher.wait_ready()
        assert publisher.node == f"127.0.0.1:{port}"
        link.refuse()
        await wait_until(lambda: publisher.node == f"127.0.0.1:{second.port}", what="the other node")
