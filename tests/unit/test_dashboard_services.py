"""Asking services whether they are ready, played by servers that are, are not, hang or are something else."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from dashboard.overview.services import ServiceWatch
from dashboard.overview.state import ServiceState
from shared.health import PROCESS_HEADER, Health

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
NOT_READY = "redis: READONLY a replica\nconsumer: PRECONDITION_FAILED: other arguments\n"


def says(status: int, text: str, **headers: str) -> Answer:
    """Answers at once, with its process id unless told otherwise."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers=headers or {PROCESS_HEADER: "7"})

    return answer


async def hangs(_: web.Request) -> web.StreamResponse:
    """Never answers, as a process does that is stopped."""
    await asyncio.Event().wait()
    return web.Response()


@asynccontextmanager
async def serving(answer: Answer, host: str = "127.0.0.1", port: int | None = None) -> AsyncIterator[int]:
    """One replica; yields its port."""
    app = web.Application()
    app.router.add_get("/readyz", answer)
    async with TestServer(app, host=host, port=port) as server:
        assert server.port is not None
        yield server.port


async def seen(url: str) -> ServiceState:
    """What a watch knows of one service after one round."""
    async with aiohttp.ClientSession() as session:
        watch = ServiceWatch(
            session, {"notifier": url}, own=("dashboard", Health()), timeout_seconds=0.3, pause_seconds=9
        )
        await watch.look()
        state, own = watch.states()
        assert own.is_ready
        return state


@pytest.mark.parametrize(
    ("answer", "ready", "faults"),
    [
        (says(200, "ok\n"), True, {}),
        (
            says(503, NOT_READY),
            False,
            {"redis": "READONLY a replica", "consumer": "PRECONDITION_FAILED: other arguments"},
        ),
        (says(500, ""), False, {"service": "it answered 500"}),
        (says(503, f"redis: {'x' * 9_000}"), False, {"redis": "x" * 300}),
        (
            says(421, "", Server="the edge"),
            False,
            {"service": "it does not answer to the name 127.0.0.1: its ..._ALLOWED_HOSTS must have it"},
        ),
        (hangs, False, {"service": "no answer within 0.3 s"}),
    ],
    ids=["ready", "not ready", "broken", "verbose", "another name", "stopped"],
)
async def test_a_service_is_known_by_its_own_word(
    answer: Answer, ready: bool, faults: dict[str, str]
) -> None:
    """Its reasons are those of its /readyz, bounded."""
    async with serving(answer) as port:
        state = await seen(f"http://127.0.0.1:{port}")
    assert (state.is_ready, state.faults, state.silence) == (ready, faults, None)


async def test_a_service_that_does_not_run_is_silent() -> None:
    """No program on its port, another one there, or no such name."""
    refused = await seen(f"http://127.0.0.1:{unused_port()}")
    async with serving(says(200, "ok\n", Server="another")) as port:
        other = await seen(f"http://127.0.0.1:{port}")
    absent = await seen("http://notifier.invalid:9102")
    assert [state.silence for state in (refused, other, absent)] == [
        "connection refused",
        "another program answers on its port",
        "nothing has the name notifier.invalid",
    ]
    assert not refused.is_ready


async def test_every_replica_behind_a_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked at its own address, under the name that all of them share."""
    hosts: list[str] = []

    async def note(request: web.Request) -> web.StreamResponse:
        hosts.append(request.headers["Host"])
        return await says(503, NOT_READY)(request)

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (f"127.0.0.{last}", port)) for last in (1, 2)]

    async with serving(says(200, "ok\n")) as port, serving(note, "127.0.0.2", port):
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        state = await seen(f"http://notifier:{port}")
    assert (state.replicas, state.ready, "redis" in state.faults) == (2, 1, True)
    assert hosts == [f"notifier:{port}"]


async def test_before_the_first_round_nothing_is_said() -> None:
    """Neither that a service is ready nor that it is silent; of itself the dashboard knows."""
    health = Health()
    health.add("redis", lambda: "not reached yet")
    async with aiohttp.ClientSession() as session:
        urls = {"notifier": "http://127.0.0.1:1"}
        watch = ServiceWatch(session, urls, own=("dashboard", health), timeout_seconds=1, pause_seconds=9)
        state, own = watch.states()
    assert (state.is_ready, state.replicas, state.silence) == (False, 0, None)
    assert own.faults == {"redis": "not reached yet"}
