"""What a broker says about its cluster, through its management interface; blocking, and cheap to ask."""

import base64
import http.client
import json
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

MEMBERS_WANTED = 3
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """What one node says about the cluster; the names are ours, without the host.

    ``running`` are the nodes that run together: one that the others noted as partitioned off is none of
    them, although it runs, until it has been started again.
    """

    running: frozenset[str]


def ask_management(url: str, path: str, timeout_seconds: float = 2.0) -> Any:
    """GET a page of a node's management interface, with the credentials in its URL.

    Raises OSError when it does not answer as it should.
    """
    parts = urlsplit(url)
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    header = {"Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_seconds)
    try:
        connection.request("GET", path, headers=header)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise OSError(f"GET {path}: {answer.status}")
        return json.loads(body)
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"GET {path}: {error}") from error
    finally:
        connection.close()


def view(url: str, timeout_seconds: float = 2.0) -> NodeView | None:
    """The cluster as one node sees it; None while the node does not serve."""
    try:
        nodes = ask_management(url, "/api/nodes?columns=name,running,partitions", timeout_seconds)
    except OSError:
        return None
    running = frozenset(_short(node["name"]) for node in nodes if node.get("running"))
    noted = {_short(node["name"]): map(_short, node.get("partitions") or ()) for node in nodes}
    return NodeView(running=running - partitioned_off(noted))


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


def _short(erlang_name: str) -> str:
    return erlang_name.partition("@")[0]


def short_queues(url: str) -> dict[str, frozenset[str]]:
    """The quorum queues with fewer than three members, each with the nodes that hold it; raises OSError."""
    queues = ask_management(url, "/api/queues?columns=name,type,members", timeout_seconds=10.0)
    members = {
        queue["name"]: frozenset(map(_short, queue.get("members", ())))
        for queue in queues
        if queue.get("type") == "quorum"
    }
    return {name: holders for name, holders in members.items() if len(holders) < MEMBERS_WANTED}


def takes_clients(port: int, host: str = "127.0.0.1", timeout_seconds: float = 1.0) -> bool:
    """True if a broker answers in AMQP; a port that a container publishes is open while nobody listens."""
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds) as connection:
            connection.sendall(PROTOCOL_HEADER)
            return bool(connection.recv(1))
    except OSError:
        return False
