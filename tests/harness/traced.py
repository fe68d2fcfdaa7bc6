"""The services that an order meets, in this process, with their spans sent to a collector of the tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession
from fakeredis import FakeServer

from orderctl.embedded.infrastructure import EmbeddedInfrastructure
from shared.messaging.memory import MemoryBroker
from shared.service.program import program_of
from shared.services import SERVICES
from shared.settings import CommonSettings
from tests.harness.collector import Collector
from tests.harness.settings import settings_of
from tests.harness.stores import free_port
from tests.harness.waiting import wait_until

MET_BY_AN_ORDER = ("api_gateway", "order_processor", "notifier", "ledger")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedPipeline:
    """The gateway's clients' session, and what stands around the services."""

    client: ClientSession
    broker: MemoryBroker
    operations: dict[str, str]

    async def place(self, order_id: str, **headers: str) -> None:
        """An order of one cable is accepted."""
        order = {"id": order_id, "sku": "cable", "qty": 1}
        async with self.client.post("/orders", json=order, headers=headers) as answer:
            assert answer.status == 202, await answer.text()

    async def metrics(self, service: str, accept: str = "text/plain") -> str:
        """What its operations port shows."""
        async with self.client.get(
            f"{self.operations[service]}/metrics", headers={"Accept": accept}
        ) as answer:
            return await answer.text()


def sending_to(collector: Collector, **more: Any) -> CommonSettings:
    """Settings with which every span is sent at once."""
    settings: dict[str, Any] = {
        "otel_exporter_otlp_endpoint": collector.url,
        "otel_bsp_schedule_delay": 20,
    }
    return CommonSettings(**(settings | more))


@asynccontextmanager
async def traced_pipeline(common: CommonSettings) -> AsyncIterator[TracedPipeline]:
    """Gateway, processor, notifier and ledger around one broker and one store, ready; drained at the end."""
    broker, stop = MemoryBroker(), asyncio.Event()
    infrastructure = EmbeddedInfrastructure(broker, FakeServer())
    ports = {name: {port: free_port() for port in _ports(name)} for name in MET_BY_AN_ORDER}
    operations = {name: f"http://127.0.0.1:{ports[name]['ops_port']}" for name in MET_BY_AN_ORDER}
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            ClientSession(f"http://127.0.0.1:{ports['api_gateway']['port']}")
        )
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(stop.set)
        for name in MET_BY_AN_ORDER:
            own: Any = settings_of(SERVICES[name])
            group.create_task(
                program_of(name).serve(common, own(**ports[name]), infrastructure, stop), name=name
            )

        async def are_ready() -> bool:
            try:
                return all([(await client.get(f"{url}/readyz")).status == 200 for url in operations.values()])
            except OSError:
                return False

        async def follows() -> bool:
            async with client.get(f"{operations['ledger']}/metrics") as answer:
                return 'ledger_heals_total{cause="first"} 1.0' in await answer.text()

        await wait_until(are_ready, what="the services are ready")
        await wait_until(follows, what="the ledger follows the log")
        async with client.put("/inventory/cable", json={"available": 1_000}) as answer:
            assert answer.status == 200
        yield TracedPipeline(client=client, broker=broker, operations=operations)


def _ports(name: str) -> set[str]:
    return {"port", "ops_port"} & set(settings_of(SERVICES[name]).model_fields)
