"""Two Redis: the store, which loses nothing that it acknowledged, and the cache, which may lose anything."""

import socket
from collections.abc import Mapping
from typing import Final

import psutil

from orderctl.native import packages
from orderctl.native.layout import Layout
from orderctl.native.ports import LOOPBACK, REDIS
from shared.services import CACHE

DURABLE: Final = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
"""The three settings behind the durability promise."""
MEMORY_SHARE: Final = 0.5
"""Of the machine's memory, at most."""
CACHE_BYTES: Final = 128 * 1024 * 1024


def server_settings(port: int, name: str = REDIS) -> dict[str, str]:
    """What the store or the cache is started with, and found to have afterwards.

    Nothing in it is a pattern or quoted. Its folder is the one that it is started in.
    """
    return {
        "port": str(port),
        "bind": LOOPBACK,
        "protected-mode": "yes",
        "save": "",
        **(_cache_settings() if name == CACHE else _store_settings()),
    }


def _store_settings() -> dict[str, str]:
    return {
        # The gateway takes orders while every broker is down only because nothing acknowledged is lost here.
        **DURABLE,
        "no-appendfsync-on-rewrite": "no",
        # Full means 503; without a limit it would mean that the kernel ends the store.
        "maxmemory": str(round(psutil.virtual_memory().total * MEMORY_SHARE)),
        # An order's record stays one flat piece, a third smaller.
        "hash-max-listpack-value": "1024",
    }


def _cache_settings() -> dict[str, str]:
    return {"appendonly": "no", "maxmemory": str(CACHE_BYTES), "maxmemory-policy": "allkeys-lru"}


def configure(layout: Layout, port: int, name: str = REDIS) -> list[str]:
    """Make the server's folder; the answer is the command that starts it, in that folder."""
    layout.part(name).mkdir(parents=True, exist_ok=True)
    words = (word for each, value in server_settings(port, name).items() for word in (f"--{each}", value))
    return [str(packages.redis_server()), *words]


def differing(port: int, wanted: Mapping[str, str]) -> list[str]:
    """Which of these settings the server has otherwise; raises OSError without an answer."""
    found = {name: ask(port, "CONFIG", "GET", name).split("\r\n") for name in wanted}
    return [f"{name} is not {value}" for name, value in wanted.items() if value not in found[name]]


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
