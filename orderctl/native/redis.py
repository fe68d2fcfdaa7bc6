"""One Redis that loses nothing that it has acknowledged."""

import socket
from pathlib import Path

import psutil

from orderctl.native import packages
from orderctl.native.layout import Layout
from orderctl.native.ports import LOOPBACK

MEMORY_SHARE = 0.5
"""Of the machine's memory, at most."""

_CONFIGURATION = """\
# Written by orderctl at every start; changes here do not last.
bind {host}
port {port}
dir "{folder}"
daemonize no
protected-mode yes
# The gateway accepts orders while every broker is down only because nothing acknowledged is lost here.
appendonly yes
appendfsync always
no-appendfsync-on-rewrite no
maxmemory-policy noeviction
# Full means 503; without a limit it would mean that the kernel ends the store.
maxmemory {memory}
# An order's record stays one flat piece, a third smaller.
hash-max-listpack-value 1024
save ""
"""


def configure(layout: Layout, port: int) -> list[str]:
    """Write the configuration; the answer is the command that starts the server with it."""
    folder = layout.part("redis")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "redis.conf"
    memory = round(psutil.virtual_memory().total * MEMORY_SHARE)
    text = _CONFIGURATION.format(host=LOOPBACK, port=port, folder=folder, memory=memory)
    path.write_text(text, encoding="utf-8")
    return [str(packages.redis_server()), str(path)]


def ask(port: int, *command: str, timeout_seconds: float = 1.0) -> str:
    """Send one command and return the raw answer; raises OSError when nobody answers in time.

    A bare socket, so that asking is cheap and needs no client to be closed.
    """
    request = f"*{len(command)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in command)
    with socket.create_connection((LOOPBACK, port), timeout=timeout_seconds) as connection:
        connection.sendall(request.encode())
        return connection.recv(65_536).decode("utf-8", "replace")


def ready(port: int) -> bool:
    """True once the server has loaded its data and answers."""
    try:
        return ask(port, "PING").startswith("+PONG")
    except OSError:
        return False


def durability_faults(port: int) -> list[str]:
    """Which of the three settings behind the durability promise are not as they must be."""
    expected = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    faults = []
    for name, value in expected.items():
        answer = ask(port, "CONFIG", "GET", name).split("\r\n")
        if value not in answer:
            faults.append(f"{name} is not {value}")
    return faults


def configuration_file(layout: Layout) -> Path:
    """Where `configure` writes."""
    return layout.part("redis") / "redis.conf"
