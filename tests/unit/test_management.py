"""Asking RabbitMQ's management interface, played by servers that refuse, hang and talk nonsense."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.messaging.rabbitmq.management import (
    ManagementClient,
    NodeRow,
    Observation,
    QueueRow,
    lets_clients_in,
    partitioned_off,
    vhost_of,
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
TIMEOUT_SECONDS = 0.3
NODES = [
    {"name": "a@h", "running": True, "mem_alarm": True, "partitions": [], "uptime": 5000, "something": "new"},
    {"name": "b@h", "running": False},
]
QUEUES = [
    {"name": "q", "messages_ready": 3, "consumers": 1, "members": ["a@h", "b@h"], "online": ["a@h"]},
    {"name": "just declared"},
]


def says(document: Any) -> Answer:
    """Answers at once."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(document)

    return answer


async def hangs(_: web.Request) -> web.StreamResponse:
    """Never answers, as a node does whose peer is frozen."""
    await asyncio.Event().wait()
    return web.Response()


async def refuses(_: web.Request) -> web.StreamResponse:
    """Wants another password."""
    return web.json_response({"error": "not_authorised"}, status=401)


async def talks_nonsense(_: web.Request) -> web.StreamResponse:
    """Is something else than RabbitMQ."""
    return web.Response(text="<html>Welcome to nginx")


WHOLE: Mapping[str, Answer] = {
    "/api/overview": says({"node": "a@h", "rabbitmq_version": "4.0.5"}),
    "/api/nodes": says(NODES),
    "/api/queues/{vhost}": says(QUEUES),
}


def alarmed(status: int, document: Any) -> Answer:
    """What the check of alarms answers."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(document, status=status)

    return answer


@asynccontextmanager
async def serving(answers: Mapping[str, Answer]) -> AsyncIterator[str]:
    """One node's management interface; yields its host and port."""
    app = web.Application()
    for path, answer in answers.items():
        app.router.add_get(path, answer)
    async with TestServer(app) as server:
        yield f"{server.host}:{server.port}"


async def observed(*endpoints: str, vhost: str = "/") -> Observation:
    """One round over these endpoints."""
    urls = [f"http://guest:pass@{endpoint}" for endpoint in endpoints]
    client = ManagementClient(urls, vhost=vhost, timeout_seconds=TIMEOUT_SECONDS, members_needed=3)
    return await client.observe()


async def test_a_cluster_tells_of_itself_its_nodes_and_its_queues() -> None:
    """Figures that it has not gathered yet are not known, rather than 0; new ones are ignored."""
    async with serving(WHOLE) as server:
        seen = await observed(server)
    (probe,) = seen.probes
    assert (probe.endpoint, probe.node, probe.fault) == (server, "a@h", None)
    assert seen.nodes == (
        NodeRow("a@h", running=True, mem_alarm=True, uptime=5000),
        NodeRow("b@h", running=False),
    )
    assert seen.queues == (
        QueueRow("q", messages_ready=3, consumers=1, members=("a@h", "b@h"), online=("a@h",)),
        QueueRow("just declared"),
    )


async def test_the_credentials_and_the_virtual_host_of_the_url_are_used() -> None:
    """They arrive as basic authentication and as one part of the path."""
    requests: list[tuple[str, str]] = []

    async def note(request: web.Request) -> web.StreamResponse:
        requests.append((request.rel_url.raw_path, request.headers["Authorization"]))
        return web.json_response([])

    async with serving({**WHOLE, "/api/queues/{vhost}": note}) as server:
        await observed(server, vhost="/shop")
    assert requests == [("/api/queues/%2Fshop", "Basic Z3Vlc3Q6cGFzcw==")]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (hangs, "no answer within 0.3 s"),
        (refuses, "it refused our user or password"),
        (talks_nonsense, "its answer cannot be read"),
    ],
)
async def test_an_endpoint_that_is_no_use_is_passed_over(answer: Answer, fault: str) -> None:
    """The next one is asked, and the fault is told without any password."""
    async with serving(dict.fromkeys(WHOLE, answer)) as bad, serving(WHOLE) as good:
        seen = await observed(bad, good)
    assert [probe.fault for probe in seen.probes] == [fault, None]
    assert seen.nodes is not None
    assert seen.queues is not None


async def test_an_absent_endpoint_is_passed_over() -> None:
    """A connection that is refused costs nothing but itself."""
    async with serving(WHOLE) as good:
        async with serving(WHOLE) as gone:  # after the other, which has another port so
            pass
        seen = await observed(gone, good)
    assert [probe.fault is None for probe in seen.probes] == [False, True]
    assert seen.nodes is not None


async def test_a_node_that_waits_for_a_frozen_peer_is_no_dead_node() -> None:
    """From 4.0 on it cannot even tell its name then; that it lives, it can."""
    stuck = {**dict.fromkeys(WHOLE, hangs), "/api/whoami": says({"name": "guest", "tags": []})}
    async with serving(stuck) as server, asyncio.timeout(5):
        seen = await observed(server)
    (probe,) = seen.probes
    assert (probe.node, probe.fault, seen.nodes) == (None, None, None)


async def test_questions_that_hang_fail_alone() -> None:
    """Each has its own deadline: a node may know its name and its peers, and yet hang on the queues."""
    async with serving({**WHOLE, "/api/queues/{vhost}": hangs}) as server, asyncio.timeout(5):
        seen = await observed(server)
    assert seen.probes[0].node == "a@h"
    assert seen.nodes is not None
    assert seen.queues is None


async def test_where_nobody_answers_nothing_is_known() -> None:
    """An observation all the same, never an error."""
    async with serving(dict.fromkeys(WHOLE, refuses)) as server:
        seen = await observed(server, server)
    assert seen.nodes is None
    assert seen.queues is None


@pytest.mark.parametrize(
    ("url", "vhost"),
    [
        ("amqp://h:5672/", "/"),
        ("amqp://h:5672", "/"),
        ("amqp://h:5672/%2F", "/"),
        ("amqp://h:5672/shop", "shop"),
        ("amqp://h:5672/a%2Fb", "a/b"),
    ],
)
def test_the_virtual_host_is_that_of_the_broker_url(url: str, vhost: str) -> None:
    """Decoded; the default one where the URL names none."""
    assert vhost_of(url) == vhost


@pytest.mark.parametrize(
    ("noted", "off"),
    [
        ({"one": (), "two": (), "three": ()}, set()),
        ({"one": ("three",), "two": (), "three": ()}, {"three"}),
        ({"one": ("three",), "two": (), "three": ("one",)}, {"three"}),
        ({"one": ("three",), "two": ("three",), "three": ("one", "two")}, {"three"}),
        ({"one": ("two", "three"), "two": (), "three": ()}, {"one"}),
        ({"one": ("two",), "two": ("three",), "three": ("one",)}, {"three", "two"}),
    ],
    ids=["whole", "one says so", "both say so", "cut off from both", "it says so of both", "all apart"],
)
def test_the_fewest_nodes_that_explain_it_are_off(noted: Mapping[str, Sequence[str]], off: set[str]) -> None:
    """So that as few as can be are started again."""
    assert partitioned_off(noted) == off


@pytest.mark.parametrize(
    ("queue", "leaderless"),
    [
        (QueueRow("q", members=("a", "b", "c"), online=("a", "b"), leader="a", state="running"), False),
        (QueueRow("q", members=("a", "b", "c"), online=("a",), leader="a", state="running"), True),
        (QueueRow("q", members=("a", "b", "c"), online=(), leader="a", state="down"), True),
        (QueueRow("q", members=("a", "b", "c"), online=("a", "b", "c"), leader=None), True),
        (QueueRow("q", members=("a", "b", "c"), online=("a", "b", "c"), leader="a", state="minority"), True),
        (QueueRow("q", members=("a",), online=("a",), leader="a"), False),
        (QueueRow("just declared"), False),
    ],
    ids=[
        "one offline",
        "two offline",
        "all dead",
        "none elected",
        "by its own word",
        "one of one",
        "unknown",
    ],
)
def test_a_queue_leads_only_with_a_majority(queue: QueueRow, leaderless: bool) -> None:
    """Members that are listed and do not run, as after a full disk, are none."""
    assert queue.is_leaderless is leaderless


@pytest.mark.parametrize("document", [{"error": "x"}, [1], [{"running": True}], "nodes", 5])
async def test_json_that_is_no_list_of_rows_is_no_answer(document: Any) -> None:
    """Another program on the port, or another version."""
    async with serving({**WHOLE, "/api/nodes": says(document)}) as server:
        seen = await observed(server)
    assert seen.nodes is None
    assert seen.queues is not None


@pytest.mark.parametrize(
    ("told", "lets_in"),
    [
        ({"cluster_state": {"rabbitmq1@here": "running", "rabbitmq2@here": "stopped"}}, True),
        ({"cluster_state": {"rabbitmq1@here": "stopped"}}, False),
        ({"name": "/"}, True),
    ],
)
async def test_a_node_whose_virtual_host_is_down_lets_no_client_in(
    told: dict[str, object], *, lets_in: bool
) -> None:
    """It runs, and refuses every connection: seen for five seconds after a start."""
    async with serving({"/api/vhosts/{vhost}": says(told)}) as server:
        url = f"http://guest:pass@{server}"
        assert await asyncio.to_thread(lets_clients_in, url, "rabbitmq1") is lets_in
        assert await asyncio.to_thread(lets_clients_in, f"{url}/nothing", "rabbitmq1")


@pytest.mark.parametrize(
    ("check", "memory", "disk"),
    [
        (
            alarmed(503, {"alarms": [{"node": "b@h", "resource": "disk space"}]}),
            [False, False],
            [False, True],
        ),
        (alarmed(503, {"alarms": [{"node": "a@h", "resource": "memory"}]}), [True, False], [False, False]),
        (alarmed(200, {"status": "ok"}), [False, False], [False, False]),
        (alarmed(404, {"error": "not_found"}), [True, None], [None, None]),
        (alarmed(503, ["no answer", "of this kind"]), [True, None], [None, None]),
    ],
    ids=["disk", "memory", "none any more", "not served", "nonsense"],
)
async def test_alarms_are_those_of_this_moment(
    check: Answer, memory: list[bool | None], disk: list[bool | None]
) -> None:
    """The list of nodes has them seconds late; they are its own where the check does not tell."""
    async with serving({**WHOLE, "/api/health/checks/alarms": check}) as endpoint:
        seen = await observed(endpoint)
    assert seen.nodes is not None
    assert [node.mem_alarm for node in seen.nodes] == memory
    assert [node.disk_free_alarm for node in seen.nodes] == disk
