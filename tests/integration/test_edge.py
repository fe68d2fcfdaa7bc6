"""A real nginx in front of the gateway: HTTPS and HTTP/2, streams, limits, and whose request it is."""

import asyncio
import shutil
import ssl
import stat
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, TCPConnector

from orderctl.native import edge, processes
from orderctl.native.layout import Layout
from orderctl.native.ports import EDGE, Ports
from shared.http.client import ServiceAnswer
from shared.http.guard import COOKIE
from tests.harness.dashboard import dashboard
from tests.harness.http_gateway import Gateway, gateway
from tests.harness.nginx import has_edge
from tests.harness.stores import free_port

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(not has_edge(), reason="nginx or openssl is not installed"),
]
TRUSTED = (edge.SOURCE_ADDRESS,)


def order(number: int) -> str:
    """The body of an order."""
    return f'{{"id": "order{number}", "sku": "cable", "qty": 1}}'


@dataclass(frozen=True, slots=True)
class Edge:
    """One that runs. ``session`` trusts its certificate."""

    url: str
    folder: Path
    session: ClientSession

    def curl(self, path: str, *words: str, url: str = "") -> str:
        """Head and body of an answer to curl, which speaks HTTP/2."""
        command = ("curl", "-sS", "-i", "--http2", "--cacert", str(self.folder / "edge.pem"), *words)
        return subprocess.run(
            (*command, (url or self.url) + path), capture_output=True, text=True, check=True, timeout=20
        ).stdout


@asynccontextmanager
async def edge_before(port: int, folder: Path) -> AsyncIterator[Edge]:
    """The edge of a gateway at this port."""
    layout = Layout(folder)
    layout.create()
    ports = Ports(layout, {EDGE: free_port(), "api_gateway.http": port})
    await asyncio.to_thread(edge.start, layout, ports)
    context = ssl.create_default_context(cafile=layout.part(EDGE) / "edge.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        async with ClientSession(edge.url(ports), connector=TCPConnector(ssl=context)) as session:
            yield Edge(edge.url(ports), layout.part(EDGE), session)
    finally:
        if record := processes.running(layout, EDGE):
            await asyncio.to_thread(processes.terminate, record, 5.0)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Edge, Gateway]]:
    """A gateway that trusts its edge."""
    async with gateway(trusted_proxies=TRUSTED) as behind, edge_before(behind.port, tmp_path) as front:
        yield front, behind


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_an_order_is_placed_by_http2_with_security_headers(served: tuple[Edge, Gateway]) -> None:
    """HSTS among them, but not for localhost, where a browser would never ask by HTTP again."""
    front, behind = served
    posted = ("-H", "Content-Type: application/json", "-d", order(1))
    said = await asyncio.to_thread(front.curl, "/orders", *posted)
    head = said.partition("\r\n\r\n")[0].lower()
    assert head.startswith("http/2 202")
    assert "strict-transport-security: max-age=31536000" in head
    for header in ("x-content-type-options: nosniff", "referrer-policy: ", "cross-origin-opener-policy: "):
        assert header in head
    assert "server: order-pipeline" in head
    assert [each.order.id for each in behind.intake.placements] == ["order1"]
    by_name = await asyncio.to_thread(front.curl, "/shop", url=front.url.replace("127.0.0.1", "localhost"))
    assert by_name.startswith("HTTP/2 200")
    assert "strict-transport-security" not in by_name.lower()


async def test_the_certificate_is_made_once_and_its_key_is_its_owners(tmp_path: Path) -> None:
    """One that is there and holds is left alone: it may be the operator's."""
    made = []
    for _ in range(2):
        async with edge_before(free_port(), tmp_path) as front:
            key = front.folder / "edge.key"
            assert stat.S_IMODE(key.stat().st_mode) == 0o600
            made.append(key.read_bytes())
    assert made[0] == made[1]


async def test_the_edge_says_whose_request_it_is_and_the_client_cannot(served: tuple[Edge, Gateway]) -> None:
    """What the client says of addresses goes no further; what others say to the gateway itself neither."""
    front, behind = served
    spoofed = {"X-Forwarded-For": "203.0.113.7", "Content-Type": "application/json"}
    async with front.session.post("/orders", data=order(1), headers=spoofed) as answer:
        assert answer.status == 202
    assert (await behind.post(order(2), X_Forwarded_For="203.0.113.7")).status == 202
    assert behind.budget.orders == [("127.0.0.1", "order1"), ("127.0.0.1", "order2")]


async def test_a_cookie_that_came_by_https_never_goes_by_http(served: tuple[Edge, Gateway]) -> None:
    """And the page's origin is the edge's, by https."""
    front, behind = served
    tokens = {"access_token": "new", "refresh_token": "next", "expires_in": 900}
    granted = ServiceAnswer(status=200, headers={}, body=orjson.dumps(tokens))
    behind.accounts.answers["POST", "/tokens"] = granted
    body = {"username": "ann", "password": "correct horse"}
    async with front.session.post("/session", json=body, headers={"Origin": front.url}) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.cookies[COOKIE]["secure"]
    http = front.url.replace("https", "http")
    for origin in (http, "https://evil.example"):
        async with front.session.post("/session", json=body, headers={"Origin": origin}) as answer:
            assert answer.status == 403


async def test_streams_and_websockets_pass_event_by_event(tmp_path: Path) -> None:
    """Neither is kept until there is more of it."""
    async with (
        dashboard() as behind,
        edge_before(int(behind.url.rstrip("/").rpartition(":")[2]), tmp_path) as front,
    ):
        async with asyncio.timeout(10), front.session.get("/events") as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            blocks = [await stream.content.readuntil(b"\n\n") for _ in range(2)]
            assert b"event: begin" in blocks[1], blocks
        async with asyncio.timeout(10), front.session.ws_connect("/events") as socket:
            assert orjson.loads(await socket.receive_str())["event"] == "begin"


async def test_what_is_too_much_is_refused_by_the_edge(
    served: tuple[Edge, Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long body and a long head, as a problem."""
    front, behind = served
    long = {"Content-Type": "application/json"}
    async with front.session.post("/orders", data=b"x" * 65_537, headers=long) as answer:
        assert (answer.status, answer.content_type) == (413, "application/problem+json")
        assert (await answer.json(content_type=None))["status"] == 413
    async with front.session.get("/shop", headers={"X-Long": "x" * 20_000}) as answer:
        assert answer.status == 400
    assert behind.intake.placements == []


async def test_more_than_a_client_may_ask_is_429_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst passes, what goes beyond it does not, and nothing reaches the gateway of that."""
    monkeypatch.setenv(edge.RATE_SETTING, "3")
    async with gateway(trusted_proxies=TRUSTED) as behind, edge_before(behind.port, tmp_path) as front:
        headers = {"Content-Type": "application/json"}

        async def place(number: int) -> int:
            async with front.session.post("/orders", data=order(number), headers=headers) as answer:
                return answer.status

        statuses = await asyncio.gather(*map(place, range(40)))
        assert set(statuses) == {202, 429}
        assert statuses.count(202) == len(behind.intake.placements) >= 4


async def test_a_gateway_that_is_away_is_503_as_of_the_gateway_itself(tmp_path: Path) -> None:
    """A client that asks again with the same id needs not know what is in front."""
    async with edge_before(free_port(), tmp_path) as front, front.session.get("/orders") as answer:
        problem: Mapping[str, Any] = await answer.json(content_type=None)
        assert (answer.status, answer.content_type, problem["status"]) == (
            503,
            "application/problem+json",
            503,
        )
