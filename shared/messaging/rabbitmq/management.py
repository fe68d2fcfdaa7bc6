"""RabbitMQ's management interface: what brokers say of their cluster and its queues.

One question is a blocking call with a deadline, cheap to import and to ask, for commands and for threads.
`ManagementClient` asks through whichever endpoint answers: while one node is frozen, the others still answer
for themselves, but hang as soon as a question takes the whole cluster, for about a minute. So each endpoint
is first asked for its own name, which needs no other node; then two questions about the cluster go to those
that answered, each with a deadline, and may fail alone.
"""

import asyncio
import base64
import http.client
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote, unquote, urlsplit

from shared import tls

PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
_STOPPED_STATES: Final = frozenset({"crashed", "down", "minority", "stopped"})


class ManagementUnavailable(OSError):
    """Raised when an endpoint gave no usable answer in time; the text says why, without credentials."""


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
    state: str | None = None
    type: str | None = None

    @property
    def is_leaderless(self) -> bool:
        """Whether a queue with members has none that leads, so that nothing goes in or out."""
        return bool(self.members) and (
            self.state in _STOPPED_STATES or not self.leader or 2 * len(self.online) <= len(self.members)
        )


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
    members_needed: int


Row = TypeVar("Row", NodeRow, QueueRow)
_OWN_NAME_PATH: Final = "/api/overview?disable_stats=true&columns=node"
_WHO_AM_I_PATH: Final = "/api/whoami"
_ALARMS_PATH: Final = "/api/health/checks/alarms"


def ask_management(
    url: str,
    path: str,
    timeout_seconds: float = 2.0,
    method: str = "GET",
    body: Any = None,
    *,
    also_read: int | None = None,
) -> Any:
    """What the interface says under a path, asked with the credentials in its URL; None if it is empty.

    Raises ManagementUnavailable, not for an answer of status ``also_read``.
    """
    parts = urlsplit(url)
    try:
        connection = tls.http_connection(url, timeout_seconds)
    except tls.UnusableTls as error:
        raise ManagementUnavailable(str(error)) from error
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    headers = {"Content-Type": "application/json"}
    if parts.username:
        headers["Authorization"] = f"Basic {base64.b64encode(credentials.encode()).decode()}"
    try:
        connection.request(
            method,
            parts.path.rstrip("/") + path,
            body=None if body is None else json.dumps(body),
            headers=headers,
        )
        answer = connection.getresponse()
        said = answer.read()
    except TimeoutError as error:
        raise ManagementUnavailable(f"no answer within {timeout_seconds:g} s") from error
    except OSError as error:
        words = tls.fault_of(error) or (error.strerror or "no connection").lower()
        hint = tls.hint(error) if parts.scheme == "https" else ""
        raise ManagementUnavailable(f"{words}{hint}") from error
    except http.client.HTTPException as error:
        raise ManagementUnavailable("its answer cannot be read") from error
    finally:
        connection.close()
    return _read(HTTPStatus.OK if answer.status == also_read else answer.status, said)


def _read(status: int, body: bytes) -> Any:
    if status == 401:
        raise ManagementUnavailable("it refused our user or password")
    if not 200 <= status < 300:
        raise ManagementUnavailable(f"it answered {status}")
    try:
        return json.loads(body) if body else None
    except ValueError as error:
        raise ManagementUnavailable("its answer cannot be read") from error


def list_nodes(url: str, timeout_seconds: float = 2.0) -> tuple[NodeRow, ...]:
    """The nodes that the cluster knows; raises ManagementUnavailable."""
    return _rows(NodeRow, ask_management(url, f"/api/nodes?columns={_columns(NodeRow)}", timeout_seconds))


def list_nodes_and_alarms(url: str, timeout_seconds: float = 2.0) -> tuple[NodeRow, ...]:
    """The same, with the alarms of this moment, of which the list learns up to 5 s late.

    Raises ManagementUnavailable; where the alarms alone cannot be told, those of the list stand.
    """
    nodes = list_nodes(url, timeout_seconds)
    try:
        told = ask_management(url, _ALARMS_PATH, timeout_seconds, also_read=HTTPStatus.SERVICE_UNAVAILABLE)
        raised = {(alarm["node"], alarm["resource"]) for alarm in told.get("alarms", ())}
    except (ManagementUnavailable, AttributeError, KeyError, TypeError):
        return nodes
    return tuple(
        replace(
            node,
            mem_alarm=(node.name, "memory") in raised,
            disk_free_alarm=(node.name, "disk space") in raised,
        )
        for node in nodes
    )


def list_queues(url: str, timeout_seconds: float = 2.0, vhost: str | None = None) -> tuple[QueueRow, ...]:
    """The queues of one virtual host, or of all of them; raises ManagementUnavailable."""
    place = "" if vhost is None else f"/{quote(vhost, safe='')}"
    path = f"/api/queues{place}?columns={_columns(QueueRow)}"
    return _rows(QueueRow, ask_management(url, path, timeout_seconds))


def _columns(row: type[Row]) -> str:
    return ",".join(field.name for field in fields(row))


def _rows(row: type[Row], listed: Any) -> tuple[Row, ...]:
    try:
        return tuple(row(**_known(row, each)) for each in listed)
    except (AttributeError, TypeError) as error:
        raise ManagementUnavailable("its answer cannot be read") from error


def _known(row: type[Row], told: dict[str, Any]) -> dict[str, Any]:
    values = {field.name: told[field.name] for field in fields(row) if told.get(field.name) is not None}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def running_together(url: str, timeout_seconds: float = 2.0) -> frozenset[str]:
    """The nodes, without their hosts, that one node sees running together; none while it does not serve.

    One that the others noted as partitioned off is none of them, although it runs, until it has been started
    again.
    """
    try:
        nodes = list_nodes(url, timeout_seconds)
    except ManagementUnavailable:
        return frozenset()
    noted = {short_name(node.name): map(short_name, node.partitions) for node in nodes}
    return frozenset(short_name(node.name) for node in nodes if node.running) - partitioned_off(noted)


def lets_clients_in(url: str, node: str, timeout_seconds: float = 2.0) -> bool:
    """False while the default virtual host is down on a node, as it may be for seconds after a start.

    A node that does not tell is not blamed for that.
    """
    try:
        told = ask_management(url, "/api/vhosts/%2F", timeout_seconds)
    except ManagementUnavailable:
        return True
    states = told.get("cluster_state") if isinstance(told, dict) else None
    known = states.items() if isinstance(states, dict) else ()
    return all(state == "running" for name, state in known if short_name(name) == node)


def partitioned_off(noted: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """The fewest nodes that explain the partitions that each of the named nodes has noted.

    A broker forgets a partition only when the other side has been started again.
    """
    pairs = {frozenset((node, peer)) for node, peers in noted.items() for peer in peers}
    off: set[str] = set()
    while pairs:
        counts = Counter(node for pair in pairs for node in pair)
        worst = max(sorted(counts, reverse=True), key=counts.__getitem__)
        off.add(worst)
        pairs = {pair for pair in pairs if worst not in pair}
    return frozenset(off)


def quorum_queues(url: str, timeout_seconds: float = 10.0) -> tuple[QueueRow, ...]:
    """The quorum queues of every virtual host; raises ManagementUnavailable."""
    return tuple(queue for queue in list_queues(url, timeout_seconds) if queue.type == "quorum")


def takes_clients(port: int, host: str = "127.0.0.1", timeout_seconds: float = 1.0) -> bool:
    """True if a broker answers in AMQP; a port that a container publishes is open while no broker listens."""
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds) as connection:
            connection.sendall(PROTOCOL_HEADER)
            return bool(connection.recv(1))
    except OSError:
        return False


def short_name(erlang_name: str) -> str:
    """The node's name without its host."""
    return erlang_name.partition("@")[0]


def vhost_of(amqp_url: str) -> str:
    """The virtual host that an AMQP URL leads to."""
    return unquote(urlsplit(amqp_url).path.removeprefix("/")) or "/"


class Management(Protocol):
    """What tells about the brokers."""

    async def observe(self) -> Observation:
        """One round of questions, within a deadline. Never raises because a broker is away."""


class ManagementClient:
    """Asks the endpoints, in threads; never raises because of one of them."""

    def __init__(
        self, urls: Sequence[str], *, vhost: str, timeout_seconds: float, members_needed: int
    ) -> None:
        self._urls = urls
        self._vhost = vhost
        self._timeout_seconds = timeout_seconds
        self._members_needed = members_needed

    async def observe(self) -> Observation:
        """One round of questions; takes up to the deadline for each endpoint that turns out to hang."""
        probes = await asyncio.gather(*map(self._probe, self._urls))
        answering = [url for url, probe in zip(self._urls, probes, strict=True) if probe.fault is None]
        nodes, queues = await asyncio.gather(
            self._first(answering, list_nodes_and_alarms),
            self._first(answering, lambda url, timeout: list_queues(url, timeout, self._vhost)),
        )
        return Observation(probes=probes, nodes=nodes, queues=queues, members_needed=self._members_needed)

    async def _probe(self, url: str) -> Probe:
        """Its name and whether it lives are two questions: on 4.x the first hangs while a peer is frozen."""
        parts = urlsplit(url)
        endpoint = f"{parts.hostname}:{parts.port}"
        named, lives = await asyncio.gather(
            *(
                asyncio.to_thread(ask_management, url, path, self._timeout_seconds)
                for path in (_OWN_NAME_PATH, _WHO_AM_I_PATH)
            ),
            return_exceptions=True,
        )
        match named:
            case {"node": str(node)}:
                return Probe(endpoint=endpoint, node=node, fault=None)
            case _ if isinstance(lives, dict):
                return Probe(endpoint=endpoint, node=None, fault=None)
            case ManagementUnavailable():
                return Probe(endpoint=endpoint, node=None, fault=str(named))
            case _:
                return Probe(endpoint=endpoint, node=None, fault="its answer cannot be read")

    async def _first(
        self, urls: Sequence[str], question: Callable[[str, float], tuple[Row, ...]]
    ) -> tuple[Row, ...] | None:
        for url in urls:
            try:
                return await asyncio.to_thread(question, url, self._timeout_seconds)
            except ManagementUnavailable:
                continue
        return None
