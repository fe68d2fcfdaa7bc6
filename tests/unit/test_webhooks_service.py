"""The whole of webhooks in this process: from an order to a receiver, and to its own end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fakeredis import FakeServer
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook

from orderctl.embedded.infrastructure import EmbeddedInfrastructure
from shared.messaging.memory import MemoryBroker
from shared.redis.client import Redis
from tests.harness.decisions import accepted, decide_one, store_recreating
from tests.harness.examples import an_order
from tests.harness.programs import RunningProgram, running_program
from tests.harness.stores import free_port
from tests.harness.waiting import wait_until
from tests.harness.webhooks import Receiver, receiver
from webhooks.main import PROGRAM
from webhooks.settings import WebhooksSettings


@asynccontextmanager
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[RunningProgram, Redis]]:
    """A service that may send to this machine, once it is ready, and the store that it follows."""
    monkeypatch.setattr("webhooks.follower.IDLE_SECONDS", 0.05)
    own = WebhooksSettings(
        port=free_port(), ops_port=free_port(), allow_private=True, database_timeout_seconds=30
    )
    infrastructure = EmbeddedInfrastructure(MemoryBroker(), FakeServer())
    async with (
        infrastructure.store(timeout_seconds=30, max_connections=1) as redis,
        running_program(PROGRAM, own, infrastructure) as started,
    ):
        yield started, redis


async def decided(redis: Redis, order_id: str) -> None:
    """An order is accepted and rejected, since there is no stock."""
    await decide_one(store_recreating(redis, 60.0), await accepted(redis, an_order(order_id)))


async def secret_for(webhooks: RunningProgram, there: Receiver) -> str:
    """That of a new webhook for this receiver."""
    async with webhooks.session.post("/webhooks", json={"url": there.url()}) as answer:
        assert answer.status == 201, await answer.text()
        return str((await answer.json())["secret"])


async def test_a_receiver_is_told_of_an_order_and_the_figures_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed with the secret that its owner was shown; nothing in the log tells the secret or the body."""
    async with receiver() as there, running(monkeypatch) as (webhooks, redis):
        secret = await secret_for(webhooks, there)
        for order_id in ("o1", "o2"):
            await decided(redis, order_id)
        await wait_until(lambda: len(there.got) == 2, what="both are told")
        told = [Webhook(secret).verify(body, dict(headers)) for headers, body in there.got]
        assert {(each["sequence"], each["subject"]) for each in told} == {(1, "o1"), (2, "o2")}

        async def figures() -> str:
            async with webhooks.operations.get("/metrics") as answer:
                return await answer.text()

        async def is_counted() -> bool:
            return 'webhooks_attempts_total{outcome="succeeded"} 2.0' in await figures()

        await wait_until(is_counted)
        assert "webhooks_pending " in await figures()


async def test_a_service_that_ends_finishes_what_it_has_begun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The receiver answers during the drain, and that is noted. Secrets and bodies are in no line."""
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        asked.set()
        await may_answer.wait()
        return web.Response(status=200)

    async with receiver() as there, running(monkeypatch) as (webhooks, redis):
        there.answer = slow
        secret = await secret_for(webhooks, there)
        await decided(redis, "o1")
        await asked.wait()
        webhooks.stop.set()
        may_answer.set()
        await webhooks.task
    written = capsys.readouterr().out
    assert "webhook attempted" in written
    assert secret not in written
    assert "specversion" not in written


@pytest.mark.parametrize(
    ("setting", "value"), [("lease_seconds", 15), ("retention_seconds", 86_400), ("auth", "none")]
)
def test_settings_that_do_not_fit_are_refused(setting: str, value: Any, tmp_path: Path) -> None:
    """At the start, by name."""
    with pytest.raises(ValidationError, match=setting.upper() if setting != "auth" else "auth"):
        WebhooksSettings(**{setting: value})
