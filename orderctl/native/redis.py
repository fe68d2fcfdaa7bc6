"""Two Redis: the store, which loses nothing that it acknowledged, and the cache, which may lose anything.

Each service has a login of its own in them, with the rights that ``shared.redis.rights`` has for it, and so
has the operator.
"""

import hashlib
import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import psutil

from orderctl.errors import PartFailedError
from orderctl.native import packages
from orderctl.native.layout import Layout
from orderctl.native.ports import LOOPBACK, REDIS
from orderctl.native.secrets import Secrets, write_private
from shared.redis.rights import DEFAULT_USER, OPERATOR, users_of
from shared.services import CACHE

DURABLE: Final = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
"""The three settings behind the durability promise."""
MEMORY_SHARE: Final = 0.5
"""Of the machine's memory, at most."""
CACHE_BYTES: Final = 128 * 1024 * 1024
USERS: Final = "users.acl"
"""The file of users in each server's folder, with hashes in the place of passwords."""


def url(layout: Layout, port: int, login: str = OPERATOR) -> str:
    """Where a login finds a Redis of this machine, password included if it was made already."""
    password = Secrets(layout).get(secret(login))
    return f"redis://{f'{login}:{password}@' if password else ''}{LOOPBACK}:{port}/0"


def secret(login: str) -> str:
    """The name of its password, which is the same in the store and in the cache."""
    return f"{REDIS}.{login}"


def server_settings(port: int, name: str = REDIS) -> dict[str, str]:
    """What the store or the cache is started with, and found to have afterwards.

    Nothing in it is a pattern or quoted. Its folder is the one that it is started in.
    """
    return {
        "port": str(port),
        "bind": LOOPBACK,
        "protected-mode": "yes",
        "save": "",
        "aclfile": USERS,
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
    """Make the server's folder and its users; the answer is the command that starts it, in that folder."""
    folder = layout.part(name)
    folder.mkdir(parents=True, exist_ok=True)
    users = (f"user {' '.join(words)}\n" for words in _users(layout, name))
    write_private(folder / USERS, "".join(users))
    words = (word for each, value in server_settings(port, name).items() for word in (f"--{each}", value))
    return [str(packages.redis_server()), *words]


def grant(layout: Layout, port: int, name: str) -> None:
    """Give a running server the users that a start would give it; raises OSError, and PartFailedError.

    It may run since before there were logins, or since before there was a service.
    """
    for words in reversed(_users(layout, name)):
        answer = ask(url(layout, port), "ACL", "SETUSER", *words)
        if not answer.startswith("+OK"):
            raise PartFailedError(f"{name}: no login for {words[0]}: {answer.strip()}", log=layout.log(name))


def _users(layout: Layout, name: str) -> list[list[str]]:
    """The words for each user. Without a login there is nothing: the default user comes to be off."""
    users, secrets = users_of(name), Secrets(layout)
    secrets.ensure(map(secret, users))
    logins = []
    for login, rules in users.items():
        digest = hashlib.sha256((secrets.get(secret(login)) or "").encode()).hexdigest()
        logins.append([login, "reset", "on", f"#{digest}", *rules])
    return [list(DEFAULT_USER), *logins]


def differing(url: str, wanted: Mapping[str, str]) -> list[str]:
    """Which of these settings the server has otherwise; raises OSError without an answer."""
    found = {name: ask(url, "CONFIG", "GET", name).split("\r\n") for name in wanted}
    return [f"{name} is not {value}" for name, value in wanted.items() if value not in found[name]]


def ask(url: str, *command: str, timeout_seconds: float = 1.0) -> str:
    """Send one command and return the raw answer; raises OSError when nobody answers in time.

    A bare socket, so that asking is cheap and needs no client to be closed. A login that the server does not
    know yet is passed over: one that was started before there were logins takes commands from anybody.
    """
    where = urlsplit(url)
    address = (where.hostname or LOOPBACK, where.port or 0)
    with socket.create_connection(address, timeout=timeout_seconds) as connection:
        if where.password:
            connection.sendall(_packed("AUTH", where.username or "", where.password))
            connection.recv(65_536)
        connection.sendall(_packed(*command))
        return connection.recv(65_536).decode("utf-8", "replace")


def ready(url: str) -> bool:
    """True once the server has loaded its data and answers."""
    try:
        return ask(url, "PING").startswith("+PONG")
    except OSError:
        return False


def _packed(*command: str) -> bytes:
    words = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in command)
    return f"*{len(command)}\r\n{words}".encode()
