"""Connections: bounded in number, closed when they stall, each answer with a trace and counted."""

import asyncio
import json
import re
import time
from contextlib import suppress

import pytest
import structlog

from shared.http.connection import ClientConnection
from shared.http.limits import HttpLimits
from tests.harness.http_gateway import Gateway, gateway
from tests.harness.waiting import wait_until

GET = b"GET /inventory HTTP/1.1\r\nHost: localhost\r\n\r\n"
DESCRIPTION = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
ORDER = '{"id": "order123", "sku": "cable", "qty": 2}'


async def opened(served: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which nothing was sent."""
    return await asyncio.open_connection("127.0.0.1", served.port)


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """The head of one answer, after its body has been read too."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None
    await reader.readexactly(int(length[1]))
    return head


@pytest.mark.parametrize(
    "begun",
    [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"\r\n"],
    ids=repr,
)
async def test_a_head_that_is_never_finished_is_408(begun: bytes) -> None:
    """The connection is closed after an answer that says why."""
    async with gateway(HttpLimits(head_timeout_seconds=0.2)) as served:
        answer = await served.raw(begun)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        problem = json.loads(body)
        assert f"X-Correlation-ID: {problem['correlation_id']}".encode() in head
        assert served.metric("http_connections_timed_out_total") == 1


async def test_a_head_that_drips_is_closed_all_the_same() -> None:
    """Every byte in time does not make a request in time."""
    async with gateway(HttpLimits(head_timeout_seconds=0.3)) as served:
        reader, writer = await opened(served)
        writer.write(b"GET / HTTP/1.1\r\n")
        answer = asyncio.ensure_future(reader.read())

        def drip() -> bool:
            with suppress(ConnectionError):
                writer.write(b"X: y\r\n")
            return answer.done()

        seconds = await wait_until(drip, timeout_seconds=5)
        with suppress(ConnectionResetError):  # what drips in after the end resets the connection
            assert (await answer).startswith(b"HTTP/1.1 408 ")
        assert seconds < 3
        assert served.metric("http_connections_timed_out_total") == 1
        writer.close()


async def test_the_second_head_on_a_connection_has_the_same_deadline() -> None:
    """A request that was answered buys nothing."""
    async with gateway(HttpLimits(head_timeout_seconds=0.2)) as served:
        reader, writer = await opened(served)
        writer.write(GET)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 200 ")
        writer.write(GET[:-2])
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_an_idle_connection_outlives_the_deadline_for_heads() -> None:
    """Waiting between requests is what keep-alive is for, also after a body that was not read."""
    async with gateway(HttpLimits(head_timeout_seconds=0.1)) as served:
        reader, writer = await opened(served)
        writer.write(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n")
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 404 ")
        writer.write(b"late")
        other = await served.raw(b"G")
        assert other.startswith(b"HTTP/1.1 408 ")
        writer.write(GET)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_an_idle_connection_is_closed_after_keep_alive() -> None:
    """With or without a request before it."""
    async with gateway(HttpLimits(keep_alive_seconds=0.2)) as served:
        assert await served.raw(b"", timeout_seconds=5) == b""
        assert (await served.raw(GET, timeout_seconds=5)).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_takes_no_answer_is_cut_off() -> None:
    """What it was sent would stay in memory for ever."""
    async with gateway(HttpLimits(write_timeout_seconds=0.3)) as served:
        _, writer = await opened(served)
        writer.write(DESCRIPTION * 1_000)
        await wait_until(lambda: served.metric("http_connections_timed_out_total") == 1)
        await wait_until(lambda: served.metric("http_connections") == 0)
        writer.close()


async def test_requests_behind_an_answer_that_is_not_taken_are_no_slow_head() -> None:
    """They came in full: the client has the time that it has for its answer."""
    async with gateway(HttpLimits(head_timeout_seconds=0.1, write_timeout_seconds=1.0)) as served:
        _, writer = await opened(served)
        answered, since = 0.0, 0.0

        def is_over() -> bool:
            nonlocal answered, since
            with suppress(ConnectionError):
                writer.write(DESCRIPTION)
            found = served.metric("http_requests_total", method="GET", route="/openapi.json", status="200")
            if found and found > answered:
                answered, since = found, time.monotonic()
            return served.metric("http_connections_timed_out_total") == 1

        await wait_until(is_over)
        assert time.monotonic() - since > 0.8
        writer.close()


async def test_a_closed_connection_counts_until_its_client_has_taken_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has the time of any other answer, or as many as it likes could be left behind in memory."""
    made = ClientConnection.connection_made

    def made_without_stalls(self: ClientConnection, transport: asyncio.Transport) -> None:
        made(self, transport)
        transport.set_write_buffer_limits(high=2**30)

    monkeypatch.setattr(ClientConnection, "connection_made", made_without_stalls)
    async with gateway(HttpLimits(write_timeout_seconds=0.3)) as served:
        _, writer = await opened(served)
        writer.write(DESCRIPTION * 200 + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await wait_until(lambda: served.metric("http_connections_timed_out_total") == 1)
        await wait_until(lambda: served.metric("http_connections") == 0)
        writer.close()


async def test_past_the_limit_the_oldest_idle_connection_makes_room() -> None:
    """Those at work stay, and where all are at work the newcomer is told so at once."""
    async with gateway(HttpLimits(max_connections=2, idle_before_eviction_seconds=0)) as served:
        first, second = await opened(served), await opened(served)
        await wait_until(lambda: served.metric("http_connections") == 2)
        served.intake.gate = asyncio.Event()
        head = "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(ORDER)}\r\n\r\n{ORDER}".encode()
        first[1].write(request)
        await wait_until(lambda: served.intake.waiting == 1)
        third = await opened(served)
        assert await second[0].read() == b""
        assert served.metric("http_connections_evicted_total") == 1
        third[1].write(request)
        await wait_until(lambda: served.intake.waiting == 2)
        answer = await served.raw(GET, timeout_seconds=5)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in answer
        assert b"X-Correlation-ID: " in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "/problems/too-many-connections"
        assert served.metric("http_connections_refused_total") == 1
        served.intake.gate.set()
        assert (await read_answer(first[0])).startswith(b"HTTP/1.1 202 ")
        answer = await served.raw(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert answer.startswith(b"HTTP/1.1 200 ")
        for _, writer in (first, second, third):
            writer.close()


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Their heads came while another was at work."""
    async with gateway() as served:
        reader, writer = await opened(served)
        writer.write(GET * 3 + GET.replace(b"/inventory", b"/nothing"))
        statuses = [(await read_answer(reader)).split()[1] for _ in range(4)]
        assert statuses == [b"200", b"200", b"200", b"404"]
        writer.close()


async def test_a_client_that_leaves_in_the_middle_of_a_body_leaves_nothing_behind() -> None:
    """No order, no error of ours, no open connection."""
    async with gateway() as served:
        _, writer = await opened(served)
        writer.write(b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: 50\r\n\r\n{")
        await wait_until(lambda: served.metric("http_requests_in_flight") == 1)
        writer.close()
        await wait_until(lambda: served.metric("http_connections") == 0)
        await wait_until(lambda: served.metric("http_requests_in_flight") == 0)
        assert served.metric("http_requests_total", method="POST", route="/orders", status="500") == 0
        assert served.intake.placements == []


async def test_what_was_begun_is_finished_when_the_listener_closes() -> None:
    """The order that was being accepted gets its 202."""
    async with gateway() as served:
        served.intake.gate = asyncio.Event()
        head = "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        answer = asyncio.ensure_future(
            served.raw(f"{head}Content-Length: {len(ORDER)}\r\n\r\n{ORDER}".encode())
        )
        await wait_until(lambda: served.intake.waiting == 1)
        asyncio.get_running_loop().call_later(0.1, served.intake.gate.set)
    assert (await answer).startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize("path", ["/inventory", "/nothing", "/orders/x", "/docs"])
async def test_a_sane_correlation_id_is_kept(path: str) -> None:
    """On every kind of answer."""
    async with gateway() as served:
        answer = await served.send("GET", path, X_Correlation_ID="order-desk/42")
        assert answer.headers["X-Correlation-ID"] == "order-desk/42"


@pytest.mark.parametrize("sent", ["", "a b", "<script>", "x" * 129, "ä"], ids=repr)
async def test_another_correlation_id_is_replaced(sent: str) -> None:
    """By a new one, of which the client learns."""
    async with gateway() as served:
        answer = await served.send("GET", "/inventory", X_Correlation_ID=sent)
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Correlation-ID"])


async def test_the_order_and_its_log_line_carry_the_correlation_id() -> None:
    """It follows the order from here."""
    async with gateway() as served:
        with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
            await served.post(ORDER, X_Correlation_ID="c1")
        assert served.intake.placements[0].trace.correlation_id == "c1"
        (line,) = [line for line in lines if line["event"] == "order accepted"]
        assert (line["order_id"], line["correlation_id"]) == ("order123", "c1")


async def test_answers_are_counted_by_route_and_not_by_path() -> None:
    """Otherwise every id would be a series of its own."""
    async with gateway() as served:
        for order_id in ("a", "b", "c"):
            await served.send("GET", f"/orders/{order_id}")
        await served.send("GET", "/nothing")
        await served.send("PURGE", "/orders")
        await served.raw(b"nonsense\r\n\r\n")
        count = "http_requests_total"
        assert served.metric(count, method="GET", route="/orders/{id}", status="404") == 3
        assert served.metric(count, method="GET", route="unmatched", status="404") == 1
        assert served.metric(count, method="other", route="unmatched", status="405") == 1
        assert served.metric(count, method="other", route="unparsed", status="400") == 1
        assert served.metric("http_request_seconds_count", method="GET", route="/orders/{id}") == 3
        assert served.metric("http_requests_in_flight") == 0
