"""Every port of every service meets hostile and clumsy clients alike."""

import asyncio
import gc
import gzip
import json
import socket
from contextlib import ExitStack

import pytest
import structlog

from shared.http.connection import ClientConnection
from shared.http.limits import HttpLimits
from tests.harness.ports import KINDS, OpenPort, open_port
from tests.harness.waiting import wait_until

every_port = pytest.mark.parametrize("kind", KINDS)
LOCAL = "Host: localhost"


def problem_in(answer: bytes) -> dict[str, object]:
    """The problem in a raw answer, after checking that it is one."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: application/problem+json" in head, answer
    problem: dict[str, object] = json.loads(body)
    assert f"X-Correlation-ID: {problem['correlation_id']}".encode() in head
    return problem


def status_of(answer: bytes) -> int:
    """The status of a raw answer."""
    return int(answer.split(b" ", 2)[1])


def connections_in_memory() -> int:
    """How many connections there are, lost ones that nothing needs any more included."""
    return sum(type(it) is ClientConnection for it in gc.get_objects())


@every_port
@pytest.mark.parametrize("path", [None, "/nothing"])
async def test_every_answer_has_the_standard_headers(kind: str, path: str | None) -> None:
    """Nothing is sniffed or stored, and no version is told."""
    async with open_port(kind) as port:
        head = (await port.get(LOCAL, path=path)).partition(b"\r\n\r\n")[0]
    for line in (b"X-Content-Type-Options: nosniff", b"Cache-Control: no-store", b"X-Correlation-ID: "):
        assert line in head
    assert b"aiohttp" not in head
    assert b"Python" not in head


@every_port
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.7",
     "localhost@evil.example", "[", "", "evil.example/localhost", "\xff"],
    ids=repr,
)  # fmt: skip
async def test_a_name_that_was_made_to_point_here_is_refused(kind: str, host: str) -> None:
    """DNS rebinding: what the page asked for stands in Host."""
    async with open_port(kind) as port:
        answer = await port.get(f"Host: {host}")
    assert status_of(answer) in (400, 421)
    assert problem_in(answer)["type"] in ("/problems/misdirected", "/problems/malformed-request")
    assert b"evil" not in answer


@every_port
@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "127.9.9.9", "[::1]:9100", "api.localhost"]
)
async def test_loopback_names_are_taken(kind: str, host: str) -> None:
    """With any port, because one may be forwarded."""
    async with open_port(kind) as port:
        assert status_of(await port.get(f"Host: {host}")) == 200


@every_port
async def test_further_names_can_be_allowed(kind: str) -> None:
    """Those, and loopback ones, and no others."""
    async with open_port(kind, allowed_hosts=("shop.example",)) as port:
        assert status_of(await port.get("Host: Shop.Example:80")) == 200
        assert status_of(await port.get(LOCAL)) == 200
        assert status_of(await port.get("Host: other.example")) == 421


@every_port
async def test_a_host_is_named_once(kind: str) -> None:
    """Not twice, and by HTTP/1.1 not never; HTTP/1.0 has none."""
    async with open_port(kind) as port:
        assert status_of(await port.get(LOCAL, "Host: evil.example")) == 400
        assert status_of(await port.get()) == 400
        assert status_of(await port.raw(f"GET {port.path} HTTP/1.0\r\n\r\n".encode())) == 200


@every_port
@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03<script>",
        b"GET /<script> HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /<script>" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n<script>: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: <script>\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"<script>" * 2_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: <script>\r\n" * 500 + b"\r\n",
    ],
    ids=lambda request: repr(request[:20] + request[37:50]),
)
async def test_what_is_no_request_is_a_problem_that_echoes_nothing(
    kind: str, request_: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """And the log takes one short line of it at most."""
    async with open_port(kind) as port:
        with structlog.testing.capture_logs() as lines:
            answer = await port.raw(request_, ends=True)
        assert status_of(answer) == 400
        assert problem_in(answer)["type"] == "/problems/malformed-request"
        assert b"<script" not in answer
        assert port.metric("http_connections_refused_total") == 0
    written = capfd.readouterr()
    assert len(lines) <= 1
    assert len(repr(lines)) < 400
    assert len(caplog.text) + len(written.out) + len(written.err) < 400


@every_port
@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
async def test_a_body_that_is_not_wanted_is_neither_inflated_nor_kept(kind: str, method: str) -> None:
    """A gzip bomb costs what its bytes cost."""
    bomb = gzip.compress(bytes(50_000_000), 9)
    head = f"{method} /livez HTTP/1.1\r\n{LOCAL}\r\nContent-Encoding: gzip\r\nConnection: close\r\n"
    request = f"{head}Content-Type: application/json\r\nContent-Length: {len(bomb)}\r\n\r\n".encode() + bomb
    async with open_port(kind) as port:
        began = asyncio.get_running_loop().time()
        answer = await port.raw(request)
        assert status_of(answer) in (200, 404, 405, 415)
        assert asyncio.get_running_loop().time() - began < 2


@every_port
@pytest.mark.parametrize("path", ["/orders", "/nothing"])
async def test_what_was_refused_leaves_memory_with_its_connection(kind: str, path: str) -> None:
    """Without the garbage collector, which comes rarely: bodies of one client filled a gateway otherwise."""
    async with open_port(kind) as port:
        gc.collect()
        before = connections_in_memory()
        gc.disable()
        try:
            for _ in range(5):
                body = b"x" * 70_000
                head = f"POST {path} HTTP/1.1\r\n{LOCAL}\r\nConnection: close\r\n"
                head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                assert status_of(await port.raw(head.encode() + body)) in (404, 413)
            await wait_until(lambda: connections_in_memory() <= before, timeout_seconds=5)
        finally:
            gc.enable()


@every_port
async def test_a_client_that_half_closes_gets_its_answer(kind: str) -> None:
    """And so does one that sent several requests before; then the connection is closed."""
    async with open_port(kind) as port:
        request = f"GET {port.path} HTTP/1.1\r\n{LOCAL}\r\n\r\n".encode()
        for _ in range(5):
            assert status_of(await port.raw(request, ends=True, timeout_seconds=3)) == 200
        answers = await port.raw(request * 3, ends=True, timeout_seconds=3)
        assert answers.count(b"HTTP/1.1 200 ") == 3
        await wait_until(lambda: port.metric("http_connections") == 0)


@every_port
@pytest.mark.parametrize("begun", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: localhost\r\n"], ids=repr)
async def test_a_client_that_ends_before_its_request_does_is_let_go(kind: str, begun: bytes) -> None:
    """At once, without an answer that it could not have asked for."""
    async with open_port(kind) as port:
        assert await port.raw(begun, ends=True, timeout_seconds=3) == b""
        await wait_until(lambda: port.metric("http_connections") == 0)


@every_port
async def test_a_silent_connection_is_closed_before_keep_alive_would(kind: str) -> None:
    """Nothing was asked, so nothing is answered."""
    async with open_port(kind, HttpLimits(first_byte_timeout_seconds=0.2)) as port:
        assert await port.raw(b"", timeout_seconds=5) == b""
        assert port.metric("http_connections_timed_out_total") == 1


@every_port
async def test_a_head_that_is_never_finished_is_408(kind: str) -> None:
    """On whatever port."""
    async with open_port(kind, HttpLimits(head_timeout_seconds=0.2)) as port:
        assert problem_in(await port.raw(b"GET / HT"))["status"] == 408


@every_port
async def test_a_head_without_an_end_is_refused_before_it_fills_memory(kind: str) -> None:
    """Line by line within aiohttp's bounds it could hold a megabyte per connection."""
    async with open_port(kind) as port:
        head = f"GET {port.path} HTTP/1.1\r\n{LOCAL}\r\n" + f"X-Long: {'a' * 8_000}\r\n" * 10
        answer = await port.raw(head.encode(), timeout_seconds=3)
        assert problem_in(answer)["type"] == "/problems/head-too-large"
        assert b"a" * 33 not in answer  # a correlation id has 32 digits
        await wait_until(lambda: port.metric("http_connections") == 0)


@every_port
async def test_a_body_is_no_head_however_it_arrives(kind: str) -> None:
    """Its bytes come while its request waits for its turn."""
    async with open_port(kind) as port:
        head = f"POST {port.path} HTTP/1.1\r\n{LOCAL}\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n"
        for _ in range(5):
            assert status_of(await port.raw(head.encode() + bytes(200_000))) == 405


@every_port
async def test_one_address_cannot_take_all_connections(kind: str) -> None:
    """Its own oldest idle one makes room for its next; other addresses notice nothing."""
    async with open_port(
        kind, HttpLimits(max_connections=8, connections_per_address=3, idle_before_eviction_seconds=0)
    ) as port:
        with ExitStack() as stack:
            held = [stack.enter_context(silent(port, "127.0.0.2")) for _ in range(5)]
            await wait_until(lambda: port.metric("http_connections_evicted_total") == 2)
            assert port.metric("http_connections") == 3
            await wait_until(lambda: [is_closed(each) for each in held] == [True, True, False, False, False])
            assert status_of(await port.get(LOCAL, source="127.0.0.3")) == 200
            assert status_of(await port.get(LOCAL, source="127.0.0.2")) == 200


@every_port
async def test_a_connection_that_has_just_come_makes_no_room(kind: str) -> None:
    """Its request may be on its way, and would end without an answer; the next one is told to come later."""
    async with open_port(kind, HttpLimits(connections_per_address=2)) as port:
        with ExitStack() as stack:
            held = [stack.enter_context(silent(port, "127.0.0.2")) for _ in range(2)]
            await wait_until(lambda: port.metric("http_connections") == 2)
            assert status_of(await port.get(LOCAL, source="127.0.0.2")) == 503
            assert [is_closed(each) for each in held] == [False, False]


@every_port
async def test_silent_connections_of_many_addresses_do_not_shut_others_out(kind: str) -> None:
    """Neither do heads that are never finished."""
    async with open_port(
        kind, HttpLimits(max_connections=6, connections_per_address=3, idle_before_eviction_seconds=0)
    ) as port:
        with ExitStack() as stack:
            for number in range(12):
                connection = stack.enter_context(silent(port, f"127.0.1.{number // 3 + 1}"))
                connection.send(b"G" * (number % 2))
            await wait_until(lambda: port.metric("http_connections_evicted_total") == 6)
            for _ in range(3):
                assert status_of(await port.get(LOCAL, source="127.0.0.3")) == 200


@every_port
async def test_a_trusted_proxy_has_no_bound_of_its_own(kind: str) -> None:
    """Its clients have, which is tested where requests can be held up."""
    limits = HttpLimits(max_connections=8, connections_per_address=1)
    async with open_port(kind, limits, proxies=("127.0.0.2",)) as port:
        with ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(silent(port, "127.0.0.2"))
            await wait_until(lambda: port.metric("http_connections") == 4)
            answer = await port.get(LOCAL, "X-Forwarded-For: 192.0.2.1", source="127.0.0.2")
            assert status_of(answer) == 200


@pytest.mark.parametrize("kind", ["operations", "dashboard"])
@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=abc",
        "application/openmetrics-text; version=",
        "text/plain; version=1.0.0;q",
        "application/openmetrics-text; version=9" + "9" * 5_000,
        "text/plain; version=0.0.4; version=!",
        ";;,=,q=",
        "*/*",
        "text/plain; escaping=allow-utf-8; version=1.0.0",
        "application/openmetrics-text;version=1.0.0;escaping=\xe4",
    ],
    ids=lambda accept: accept[:60],
)
async def test_metrics_are_answered_whatever_is_accepted(kind: str, accept: str) -> None:
    """In a version that can be written."""
    async with open_port(kind) as port:
        assert status_of(await port.get(LOCAL, f"Accept: {accept}", path="/metrics")) == 200


def silent(port: OpenPort, source: str) -> socket.socket:
    """A connection from an address of loopback, on which nothing was sent."""
    return socket.create_connection(("127.0.0.1", port.number), timeout=5, source_address=(source, 0))


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has ended it."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
