"""What a broker says about its cluster, through its management interface; blocking, and cheap to ask."""

import base64
import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

MEMBERS_WANTED = 3
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """What one node says about the cluster; the names are ours, without the host."""

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
        nodes = ask_management(url, "/api/nodes?columns=name,running", timeout_seconds)
    except OSError:
        return None
    running = (node["name"].partition("@")[0] for node in nodes if node.get("running"))
    return NodeView(running=frozenset(running))


def short_queues(url: str) -> dict[str, frozenset[str]]:
    """The quorum queues with fewer than three members, each with the nodes that hold it; raises OSError."""
    queues = ask_management(url, "/api/queues?columns=name,type,members", timeout_seconds=10.0)
    members = {
        queue["name"]: frozenset(member.partition("@")[0] for member in queue.get("members", ()))
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
