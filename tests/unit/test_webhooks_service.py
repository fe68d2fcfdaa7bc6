"""The whole of webhooks in this process: from the broker to a receiver, and to its own end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from fakeredis import FakeServer
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook

from orderctl.embedded.infrastructure import EmbeddedInfrastructure
from shared.messages import Event
from shared.messaging.memory import MemoryBroker
from shared.messaging.settlement import message_of
from shared.settings import CommonSettings
from tests.harness.examples import an_order, created
from tests.harness.stores import free_port
from tests.harness.waiting import wait_until
from tests.harness.webhooks import receiver
from webhooks.main import PROGRAM
from webhooks.settings import WebhooksSettings


@dataclass(slots=True)
class RunningWebhooks:
    """The service, and what it is connected to."""

    session: ClientSession
    operations: str
    broker: MemoryBroker
    stop: asyncio.Event
    task: "asyncio.Task[None]"

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The value of an answer that succeeds."""
        async with self.session.request(method, path, json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def metrics(self) -> str:
        """What Prometheus reads."""
        async with self.session.get(f"{self.operations}/metrics") as answer:
            return await answer.text()

    async def happen(self, *events: Event[Any]) -> None:
        """Events of orders."""
        for event in events:
            await self.broker.publish(message_of(event))


@asynccontextmanager
async def running() -> AsyncIterator[RunningWebhooks]:
    """A service that may send to this machine, once it is ready."""
    own = WebhooksSettings(
        port=free_port(), ops_port=free_port(), allow_private=True, database_timeout_seconds=30
    )
    broker, stop = MemoryBroker(), asyncio.Event()
    infrastructure = EmbeddedInfrastructure(broker, FakeServer())
    task = asyncio.create_task(PROGRAM.run(CommonSettings(), own, infrastructure, stop))
    operations = f"http://127.0.0.1:{own.ops_port}"
    try:
        async with ClientSession(f"http://127.0.0.1:{own.port}") as session:

            async def is_ready() -> bool:
                try:
                    async with session.get(f"{operations}/readyz") as answer:
                        return answer.status == 200
                except OSError:
                    return task.done()

            await wait_until(is_ready, what="webhooks is ready")
            yield RunningWebhooks(session, operations, broker, stop, task)
    finally:
        stop.set()
        await task


async def test_a_receiver_is_told_of_an_order_and_the_figures_tell() -> None:
    """Signed with the secret that its owner was shown; nothing in the log tells the secret or the body."""
    async with receiver() as there, running() as webhooks:
        made = await webhooks.ask("POST", "/webhooks", {"url": there.url()})
        await webhooks.happen(created(an_order("o1")), created(an_order("o2")))
        await wait_until(lambda: len(there.got) == 2, what="both are told")
        told = [Webhook(made["secret"]).verify(body, dict(headers)) for headers, body in there.got]
        assert {(each["sequence"], each["subject"]) for each in told} == {(1, "o1"), (2, "o2")}

        async def is_counted() -> bool:
            return 'webhooks_attempts_total{outcome="delivered"} 2.0' in await webhooks.metrics()

        await wait_until(is_counted)
        assert "webhooks_pending " in await webhooks.metrics()


async def test_a_service_that_ends_finishes_what_it_has_begun(capsys: pytest.CaptureFixture[str]) -> None:
    """The receiver answers during the drain, and that is noted. Secrets and bodies are in no line."""
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        asked.set()
        await may_answer.wait()
        return web.Response(status=200)

    async with receiver() as there, running() as webhooks:
        there.answer = slow
        made = await webhooks.ask("POST", "/webhooks", {"url": there.url()})
        await webhooks.happen(created(an_order("o1")))
        await asked.wait()
        webhooks.stop.set()
        await wait_until(lambda: webhooks.stop.is_set() and not webhooks.task.done())
        may_answer.set()
        await webhooks.task
    written = capsys.readouterr().out
    assert "webhook attempted" in written
    assert made["secret"] not in written
    assert "specversion" not in written


@pytest.mark.parametrize(
    ("setting", "value"), [("lease_seconds", 15), ("retention_seconds", 86_400), ("auth", "none")]
)
def test_settings_that_do_not_fit_are_refused(setting: str, value: Any, tmp_path: Path) -> None:
    """At the start, by name."""
    with pytest.raises(ValidationError, match=setting.upper() if setting != "auth" else "auth"):
        WebhooksSettings(**{setting: value})
