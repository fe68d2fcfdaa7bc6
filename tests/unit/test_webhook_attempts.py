"""One attempt at a delivery, against real receivers on loopback that do what they like."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.harness.stores import free_port
from tests.harness.webhooks import Receiver, receiver
from webhooks import posting
from webhooks.addresses import SocketFactory, guarded_sockets, is_public
from webhooks.model import SECOND, ClaimedDelivery, webhook_id
from webhooks.posting import Poster, ThreadsOfItsOwn, open_session, retry_after_seconds

NEW, OLD, OTHER = (f"whsec_{'AAAA' * 9}{letter}BCD" for letter in "XYZ")
BODY = '{"id":"order1:order.created.v1","type":"order.created.v1"}'


def claimed(url: str, *secrets: str) -> ClaimedDelivery:
    """The seventeenth delivery to an endpoint."""
    return ClaimedDelivery(endpoint_id="e1", sequence=17, url=url, body=BODY, secrets=secrets or (NEW,))


@asynccontextmanager
async def poster(
    *,
    resolver: AbstractResolver | None = None,
    sockets: SocketFactory | None = None,
    timeout_seconds: float = 10.0,
) -> AsyncIterator[Poster]:
    """One that may go everywhere, unless it is told otherwise."""
    async with open_session(
        resolver or ThreadsOfItsOwn(1), sockets, timeout_seconds=timeout_seconds
    ) as session:
        yield Poster(session, lambda: time.time_ns() // 1_000)


@pytest.fixture
async def there() -> AsyncIterator[Receiver]:
    """A receiver that takes everything, until it is told otherwise."""
    async with receiver() as made:
        yield made


async def test_a_receiver_can_verify_what_it_gets(there: Receiver) -> None:
    """By the library, with the secret that it was given; with another, or changed, it does not hold."""
    async with poster() as sending:
        attempt = await sending.post(claimed(there.url()))
    assert (attempt.status, attempt.error, attempt.is_success) == (204, None, True)
    headers, body = there.got[0]
    told = Webhook(NEW).verify(body, dict(headers))
    assert told == {**json.loads(BODY), "sequence": 17}
    assert headers["webhook-id"] == webhook_id("e1", 17)
    assert headers["Content-Type"] == "application/json"
    for secret, changed in ((OTHER, body), (NEW, body.replace(b"17", b"18"))):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(changed, dict(headers))


async def test_while_a_secret_is_replaced_both_of_them_verify(there: Receiver) -> None:
    """So that a receiver can change over at any moment."""
    async with poster() as sending:
        await sending.post(claimed(there.url(), NEW, OLD))
    headers, body = there.got[0]
    for secret in (NEW, OLD):
        Webhook(secret).verify(body, dict(headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(body, dict(headers))


async def test_a_redirect_is_not_followed(there: Receiver) -> None:
    """Wherever it leads; it counts as what it is."""

    async def elsewhere(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": inside.url()})

    async with receiver() as inside, poster() as sending:
        there.answer = elsewhere
        attempt = await sending.post(claimed(there.url()))
    assert (attempt.status, attempt.is_success, inside.got) == (307, False, [])


async def test_of_a_huge_answer_a_little_is_read(there: Receiver) -> None:
    """Its status counts; the connection is given up, and the receiver cannot write on."""
    written, broken = 0, asyncio.Event()

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal written
        answer = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"x" * 65_536)
                written += 65_536
        finally:
            broken.set()

    there.answer = endless
    async with poster() as sending:
        assert (await sending.post(claimed(there.url()))).status == 200
        await broken.wait()
    assert written < 32 * 2**20


async def test_a_receiver_that_does_not_answer_costs_its_time_and_no_more(
    there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence is a failure; of a body that does not end the head counts."""
    monkeypatch.setattr(posting, "DRAIN_SECONDS", 0.01)

    async def silent(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    async def half(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        answer.content_length = 100
        await answer.prepare(request)
        await asyncio.Event().wait()
        return answer

    async with poster(timeout_seconds=0.1) as sending:
        there.answer = silent
        attempt = await sending.post(claimed(there.url()))
        assert (attempt.status, attempt.error) == (None, "no answer in time")
    there.answer = half
    async with poster() as sending:
        assert (await sending.post(claimed(there.url()))).status == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\xff\x00 nonsense \r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"",
    ],
)
async def test_what_is_no_http_is_a_failure(answer: bytes) -> None:
    """A connection that is closed without an answer too."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, poster() as sending:
        port = server.sockets[0].getsockname()[1]
        attempt = await sending.post(claimed(f"http://127.0.0.1:{port}/"))
    assert attempt.status is None
    assert attempt.error


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "https://127.0.0.1:{port}/", "http://a..b/"])
async def test_who_cannot_be_reached_is_a_failure(url: str) -> None:
    """No port, no TLS, no such name."""
    async with poster() as sending:
        attempt = await sending.post(claimed(url.format(port=free_port())))
    assert attempt.status is None
    assert attempt.error


async def test_a_receiver_without_tls_is_a_failure_where_tls_is_asked_for(there: Receiver) -> None:
    """Nothing is sent in clear text instead."""
    async with poster() as sending:
        attempt = await sending.post(claimed(there.url().replace("http:", "https:")))
    assert (attempt.status, there.got) == (None, [])


class ChangingNames(AbstractResolver):
    """Answers with one address after the other."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self._answers.pop(0)
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_name_that_leads_inside_the_second_time_is_not_followed_there(there: Receiver) -> None:
    """The address of the very connection is looked at, whatever the name meant before."""
    outside = there.url("receiver.example")

    async def taken(_: web.BaseRequest) -> web.StreamResponse:
        answer = web.Response(status=200)
        answer.force_close()
        return answer

    there.answer = taken
    async with receiver("127.0.0.2") as inside:
        names = ChangingNames(["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2", "127.0.0.1"])
        sockets = guarded_sockets("127.0.0.1".__eq__)
        inside_url = outside.replace(str(there.port), str(inside.port))
        async with poster(resolver=names, sockets=sockets) as sending:
            assert (await sending.post(claimed(outside))).status == 200
            refused = await sending.post(claimed(inside_url))
            assert (await sending.post(claimed(outside))).status == 200
    assert refused.status is None
    assert "not public" in str(refused.error)
    assert (len(there.got), inside.got) == (2, [])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1"])
async def test_this_machine_is_no_receiver(there: Receiver, host: str) -> None:
    """However it is written: nothing of it is ever reached from the real settings."""
    async with poster(sockets=guarded_sockets(is_public)) as sending:
        attempt = await sending.post(claimed(there.url(host)))
    assert (attempt.status, there.got) == (None, [])


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("120", 120), ("", 0), ("soon", 0), ("-5", 0), ("9" * 40, 0), ("Thu, 01 Jan 1970 00:02:00 GMT", 110)],
)
def test_a_pause_is_asked_for_in_seconds_or_until_a_date(said: str, seconds: float) -> None:
    """Nonsense asks for none."""
    assert retry_after_seconds({"Retry-After": said}, 10 * SECOND / SECOND) == seconds
