"""The notifier as a process, mailing over TLS with a login, and through an outage of the mail server."""

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import trustme

from tests.harness.client import GatewayClient, gateway_client
from tests.harness.evidence import store_of, wait_until_settled
from tests.harness.running import Pipeline
from tests.harness.smtp_sink import LOOPBACK, Security, SmtpSink, smtp_sink
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]

LOGIN = ("shop", "a secret")
LETTERS_PER_HOUR = 20


@pytest.fixture
async def sink(pipeline: Pipeline, tmp_path: Path) -> AsyncIterator[SmtpSink]:
    """A mail server that demands TLS and a login, and a notifier that has both."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(LOOPBACK).configure_cert(context)
    async with smtp_sink(Security(tls_context=context, login=LOGIN)) as serving:
        await pipeline.stop("notifier")
        await pipeline.start(
            "notifier",
            NOTIFIER_SENDER="smtp",
            NOTIFIER_MAIL_FROM="The Shop <orders@shop.example>",
            NOTIFIER_LETTERS_PER_HOUR=str(LETTERS_PER_HOUR),
            NOTIFIER_SMTP_HOST=LOOPBACK,
            NOTIFIER_SMTP_PORT=str(serving.port),
            NOTIFIER_SMTP_CA_FILE=str(tmp_path / "authority.pem"),
            NOTIFIER_SMTP_USERNAME=LOGIN[0],
            NOTIFIER_SMTP_PASSWORD=LOGIN[1],
        )
        yield serving
        await pipeline.stop("notifier")


@pytest.fixture
async def client(pipeline: Pipeline) -> AsyncIterator[GatewayClient]:
    """A client of the running gateway."""
    async with gateway_client(pipeline.gateway_url) as speaking:
        yield speaking


@pytest.fixture
def name() -> str:
    """A prefix for ids and SKUs that no other test uses."""
    return f"m{time.time_ns()}-"


async def ready(pipeline: Pipeline) -> tuple[int, str]:
    """The notifier's readiness, and why."""
    url = f"{pipeline.services.operations_url('notifier')}/readyz"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_customers_get_letters(
    pipeline: Pipeline, client: GatewayClient, sink: SmtpSink, name: str
) -> None:
    """One per event to whoever left an address, over TLS and after a login; the others are in the log."""
    await client.set_stock(f"{name}case", 1)
    order = {"sku": f"{name}case", "qty": 1}
    await client.place({"id": f"{name}1", "email": "ann@example.org", **order})
    await wait_until_settled(pipeline)
    await client.place({"id": f"{name}2", "email": "bob@example.org", **order})
    await client.place({"id": f"{name}3", **order})
    await wait_until_settled(pipeline)
    assert sink.told == {f"{name}1:order.created.v1": 1, f"{name}2:order.rejected.v1": 1}
    assert {letter.recipient for letter in sink.letters} == {"ann@example.org", "bob@example.org"}
    assert {(letter.encrypted, letter.login) for letter in sink.letters} == {(True, LOGIN[0])}
    async with store_of(pipeline) as redis:
        channels = [await redis.hget(f"notifications:{name}{n}", "channel") for n in (1, 2, 3)]
    assert channels == ["smtp", "smtp", "log"]


async def test_an_outage_of_the_mail_server_delays_and_loses_nothing(
    pipeline: Pipeline, client: GatewayClient, sink: SmtpSink, name: str
) -> None:
    """Readiness says why; afterwards every letter arrives once, and none was counted as a try."""
    await client.set_stock(f"{name}case", 200)
    await sink.shut()
    orders = [
        {"id": f"{name}{n}", "email": f"ann{n % 40}@example.org", "sku": f"{name}case", "qty": 1}
        for n in range(200)
    ]
    await client.place_many(orders, 20)

    async def noticed() -> bool:
        status, text = await ready(pipeline)
        return status == 503 and "smtp" in text

    await wait_until(noticed, what="the outage to be noticed")
    await sink.open()
    await wait_until_settled(pipeline)
    assert sink.told == {f"{name}{n}:order.created.v1": 1 for n in range(200)}
    assert (await ready(pipeline))[0] == 200
    async with store_of(pipeline) as redis:
        attempts = {await redis.hget(f"notifications:{name}{n}", "attempts") for n in range(200)}
    assert attempts == {"1"}


async def test_a_crowd_of_letters_to_one_address_becomes_a_few(
    pipeline: Pipeline, client: GatewayClient, sink: SmtpSink, name: str
) -> None:
    """All orders are told within seconds, each once, in no more letters than an hour allows."""
    await client.set_stock(f"{name}case", 100)
    ids = [f"{name}{n:03}" for n in range(100)]
    await client.place_many(
        [{"id": each, "email": "bob@example.org", "sku": f"{name}case", "qty": 1} for each in ids], 20
    )
    await wait_until_settled(pipeline)
    texts = [str(letter.message.get_body(("plain",))) for letter in sink.letters]
    assert [sum(f"Order {each}" in text for text in texts) for each in ids] == [1] * len(ids)
    assert len(texts) <= LETTERS_PER_HOUR
