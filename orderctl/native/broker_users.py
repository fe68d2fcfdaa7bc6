"""The brokers' users in one data folder: their passwords, and how brokers learn of them.

Each node imports the operator when it starts, so that no other user is ever made by default; the operator
then brings in the services' users and the map, once the nodes run together. A data folder of before has
guest alone: it is used once, to let the operator in where brokers were left running, and removed.
"""

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from orderctl.native.layout import Layout
from orderctl.native.ports import LOOPBACK
from orderctl.native.secrets import Secrets, write_private
from shared.messaging.rabbitmq.management import ManagementUnavailable, ask_management
from shared.messaging.rabbitmq.rights import DEFINITIONS_PATH, OPERATOR, USERS, admit, definitions

GUEST_SECONDS: Final = 2.0
GUEST: Final = "guest"


def ensure(layout: Layout) -> None:
    """Makes the passwords that are missing."""
    Secrets(layout).ensure(map(secret, (OPERATOR, *USERS)))


def url(layout: Layout, scheme: str, port: int, user: str = OPERATOR) -> str:
    """Where a user finds a node, password included if it was made already."""
    password = Secrets(layout).get(secret(user))
    credentials = f"{user}:{password}" if password else user
    return f"{scheme}://{credentials}@{LOOPBACK}:{port}"


def write_operator(layout: Layout, path: Path) -> None:
    """What a node imports when it starts."""
    write_private(path, json.dumps(definitions(_passwords(layout, [OPERATOR]))))


def let_operator_in(layout: Layout, management_urls: Iterable[str]) -> None:
    """Tells brokers that run since before there was an operator, as guest; others need nothing."""
    operator = definitions(_passwords(layout, [OPERATOR]))
    for each in map(urlsplit, management_urls):
        as_guest = each._replace(netloc=f"{GUEST}:{GUEST}@{each.hostname}:{each.port}").geturl()
        with contextlib.suppress(ManagementUnavailable):
            ask_management(as_guest, DEFINITIONS_PATH, GUEST_SECONDS, "POST", operator)


def settle(layout: Layout, management_url: str) -> None:
    """Lets every service in, makes what is missing of the map, and removes guest.

    Raises ManagementUnavailable.
    """
    admit(management_url, _passwords(layout, USERS))
    if {"name": GUEST} in ask_management(management_url, "/api/users?columns=name"):
        ask_management(management_url, f"/api/users/{GUEST}", method="DELETE")


def _passwords(layout: Layout, users: Iterable[str]) -> dict[str, str]:
    secrets = Secrets(layout)
    return {user: secrets.get(secret(user)) or "" for user in users}


def secret(user: str) -> str:
    """The name of its password among the folder's."""
    return f"rabbitmq.{user}"
