"""How many readers may follow at a time, as each service is told by its own setting."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession
from fakeredis import FakeServer

from orderctl.embedded.infrastructure import EmbeddedInfrastructure
from shared.messaging.memory import MemoryBroker
from shared.service.program import program_of
from shared.services import SERVICES
from tests.harness.programs import running_program
from tests.harness.settings import settings_of
from tests.harness.stores import free_port


async def path_of_an_order(client: ClientSession) -> str:
    """Where one can be followed that is not at its end."""
    async with client.post("/orders", json={"id": "order1", "sku": "cable", "qty": 1}) as answer:
        assert answer.status == 202, await answer.text()
    return "/orders/order1/events"


async def path_of_all(client: ClientSession) -> str:
    """Where an operator follows everything."""
    return "/events"


@pytest.mark.parametrize(
    ("name", "variable", "path_of"),
    [
        ("api_gateway", "GATEWAY_MAX_STREAMS", path_of_an_order),
        ("dashboard", "DASHBOARD_MAX_STREAMS", path_of_all),
    ],
)
async def test_one_reader_more_than_the_setting_says_is_turned_away(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    variable: str,
    path_of: Callable[[ClientSession], Awaitable[str]],
) -> None:
    """With 503, and the first reads on."""
    monkeypatch.setenv(variable, "1")
    settings: Any = settings_of(SERVICES[name])
    ports = {port: free_port() for port in ("port", "ops_port") if port in settings.model_fields}
    infrastructure = EmbeddedInfrastructure(MemoryBroker(), FakeServer())
    async with running_program(program_of(name), settings(**ports), infrastructure) as started:
        path = await path_of(started.session)
        async with started.session.get(path) as first, started.session.get(path) as second:
            assert (first.status, second.status) == (200, 503)
