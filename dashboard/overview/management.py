"""RabbitMQ's management interface, asked through whichever of its endpoints answers.

While one node is frozen, the others still answer for themselves, but hang as soon as a question takes the
whole cluster, for about a minute. So each endpoint is first asked for its own name, which needs nobody else;
then two questions about the cluster go to those that answered, each with a deadline, and may fail alone.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import quote, unquote, urlsplit

import aiohttp
from aiohttp import encode_basic_auth
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from shared.logs import get_logger
from shared.pipeline import QUORUM_SIZE

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node as the cluster lists it; ``uptime`` in milliseconds, ``mem_used`` and ``mem_limit`` in bytes."""

    name: str
    running: bool = False
    mem_alarm: bool | None = None
    disk_free_alarm: bool | None = None
    partitions: tuple[str, ...] = ()
    mem_used: int | None = None
    mem_limit: int | None = None
    uptime: int | None = None


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue as the cluster lists it. Its counts are gathered every few seconds and absent before that."""

    name: str
    messages_ready: int | None = None
    messages_unacknowledged: int | None = None
    consumers: int | None = None
    members: tuple[str, ...] = ()
    online: tuple[str, ...] = ()
    leader: str | None = None


@dataclass(frozen=True, slots=True)
class _OwnName:
    node: str


@dataclass(frozen=True, slots=True)
class _User:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What one endpoint said of itself: the node it belongs to, or why there was no answer."""

    endpoint: str
    node: str | None
    fault: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One round of questions. ``nodes`` and ``queues`` are None where the cluster did not tell in time.

    ``members_needed`` is how many members a queue has where all is well.
    """

    probes: Sequence[Probe]
    nodes: Sequence[NodeRow] | None
    queues: Sequence[QueueRow] | None
    members_needed: int = QUORUM_SIZE


Answer = TypeVar("Answer")
Row = TypeVar("Row")
_OWN_NAME: Final = TypeAdapter(_OwnName)
_WHO_AM_I: Final = TypeAdapter(_User)
_NODES: Final = TypeAdapter(tuple[NodeRow, ...])
_QUEUES: Final = TypeAdapter(tuple[QueueRow, ...])
_OWN_NAME_PATH: Final = "/api/overview?disable_stats=true&columns=node"
_WHO_AM_I_PATH: Final = "/api/whoami"
_NODES_PATH: Final = "/api/nodes?columns=" + ",".join(NodeRow.__dataclass_fields__)
_QUEUES_COLUMNS: Final = ",".join(QueueRow.__dataclass_fields__)


class _NoAnswer(Exception):
    """Raised when an endpoint gave no usable answer in time; the text says why."""


class _Endpoint:
    """One address of the management interface. ``name`` shows no credentials."""

    def __init__(self, url: str) -> None:
        parsed = URL(url)
        self.name = f"{parsed.host}:{parsed.port}"
        self.base = str(parsed.with_user(None)).rstrip("/")
        self.headers: Mapping[str, str] = (
            {"Authorization": encode_basic_auth(parsed.user, parsed.password or "")} if parsed.user else {}
        )


class ManagementClient:
    """Asks the endpoints; never raises because of one of them."""

    def __init__(
        self, session: aiohttp.ClientSession, urls: Sequence[str], *, vhost: str, timeout_seconds: float
    ) -> None:
        self._session = session
        self._endpoints = [_Endpoint(url) for url in urls]
        self._queues_path = f"/api/queues/{quote(vhost, safe='')}?columns={_QUEUES_COLUMNS}"
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    async def observe(self) -> Observation:
        """One round of questions; takes up to the deadline for each endpoint that turns out to hang."""
        probes = await asyncio.gather(*(self._probe(endpoint) for endpoint in self._endpoints))
        answering = [
            endpoint for endpoint, probe in zip(self._endpoints, probes, strict=True) if probe.fault is None
        ]
        async with asyncio.TaskGroup() as group:
            nodes = group.create_task(self._first(answering, _NODES_PATH, _NODES))
            queues = group.create_task(self._first(answering, self._queues_path, _QUEUES))
        return Observation(probes=probes, nodes=nodes.result(), queues=queues.result())

    async def _probe(self, endpoint: _Endpoint) -> Probe:
        """Its name and whether it lives are two questions: on 4.x the first hangs while a peer is frozen."""
        lives = asyncio.create_task(self._lives(endpoint))
        try:
            answer = await self._get(endpoint, _OWN_NAME_PATH, _OWN_NAME)
        except _NoAnswer as error:
            return Probe(endpoint=endpoint.name, node=None, fault=None if await lives else str(error))
        finally:
            lives.cancel()
        return Probe(endpoint=endpoint.name, node=answer.node, fault=None)

    async def _lives(self, endpoint: _Endpoint) -> bool:
        """Whether it answers a question that it can answer alone."""
        try:
            await self._get(endpoint, _WHO_AM_I_PATH, _WHO_AM_I)
        except _NoAnswer:
            return False
        return True

    async def _first(
        self, endpoints: Sequence[_Endpoint], path: str, adapter: TypeAdapter[tuple[Row, ...]]
    ) -> tuple[Row, ...] | None:
        for endpoint in endpoints:
            try:
                return await self._get(endpoint, path, adapter)
            except _NoAnswer as error:
                log.debug("no answer", endpoint=endpoint.name, path=path, reason=str(error))
        return None

    async def _get(self, endpoint: _Endpoint, path: str, adapter: TypeAdapter[Answer]) -> Answer:
        url = URL(endpoint.base + path, encoded=True)
        try:
            async with self._session.get(
                url, headers=endpoint.headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                return _read(adapter, response.status, await response.read())
        except TimeoutError as error:
            raise _NoAnswer(f"no answer within {self._timeout.total:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise _NoAnswer((error.os_error.strerror or "no connection").lower()) from error
        except aiohttp.ClientError as error:
            raise _NoAnswer(f"{type(error).__name__}: {error}") from error


def _read(adapter: TypeAdapter[Answer], status: int, body: bytes) -> Answer:
    if status == 401:
        raise _NoAnswer("it refused our user or password")
    if status != 200:
        raise _NoAnswer(f"it answered {status}")
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        raise _NoAnswer("its answer cannot be read") from error


def vhost_of(amqp_url: str) -> str:
    """The virtual host that an AMQP URL leads to."""
    return unquote(urlsplit(amqp_url).path.removeprefix("/")) or "/"
