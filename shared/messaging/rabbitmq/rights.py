"""Who may do what at the brokers: a user for each service, with the rights that its place on the map needs.

All of them may declare the whole map, since every service does so when it connects. A queue that points at
another one is made by who may read it alone: its consumer, or the operator, who makes the whole map before
any service starts. Rights are patterns, which a broker looks for anywhere in a name unless they are anchored.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from shared.messaging.rabbitmq.management import ask_management
from shared.messaging.rabbitmq.retired import remove_retired
from shared.pipeline import (
    BINDINGS,
    CONSUMPTIONS,
    DEAD_LETTER_DESK,
    EXCHANGES,
    RETIRED,
    RETRY_TIERS_SECONDS,
    ROUTES,
    SHOP_ROUTES,
    Consumption,
    bindings,
    queues,
)
from shared.services import BROKER, SERVICES

OPERATOR: Final = "operator"
MONITOR: Final = "monitor"
"""Who looks at the management interface for the dashboard, and may touch no message."""
USERS: Final = (MONITOR, *(service.name for service in SERVICES.values() if BROKER in service.needs))
"""Everybody but the operator."""
VHOST: Final = "/"
DEFAULT_EXCHANGE: Final = "amq.default"
"""It leads to every queue, by its name: to a consumer's own tiers, and back from a dead-letter queue."""
DEFINITIONS_PATH: Final = "/api/definitions"
IMPORT_SECONDS: Final = 30.0

_EVERYWHERE: Final = {OPERATOR: ".*", MONITOR: "^$"}
"""One that may do nothing in a virtual host may look at it all the same, and only then."""
_TAGS: Final = {OPERATOR: "administrator", MONITOR: "monitoring"}
_SALT_BYTES: Final = 4


def rights_of(user: str) -> Mapping[str, str]:
    """What it may configure, write and read."""
    if user in _EVERYWHERE:
        return dict.fromkeys(("configure", "write", "read"), _EVERYWHERE[user])
    consumption = SERVICES[user].consumption
    is_desk = user == DEAD_LETTER_DESK
    routes = (*ROUTES.values(), *SHOP_ROUTES.values())
    return {
        "configure": _any_of(
            [*(each.name for each in EXCHANGES), *(each.name for each in (*queues(), *queues(RETIRED)))]
        ),
        "write": _any_of(
            [
                *(binding.queue for binding in (*BINDINGS, *bindings(RETIRED))),
                *(route.exchange for route in routes if user in route.publishers),
                *([DEFAULT_EXCHANGE] if consumption or is_desk else []),
            ]
        ),
        "read": _any_of(
            [
                *(binding.exchange for binding in BINDINGS),
                *(_consumed(consumption) if consumption else []),
                *(each.dead_queue for each in CONSUMPTIONS if is_desk),
            ]
        ),
    }


def definitions(passwords: Mapping[str, str]) -> dict[str, Any]:
    """These users with their rights, as a broker imports them; again, and nothing changes."""
    return {
        "vhosts": [{"name": VHOST}],
        "users": [_user(user, password) for user, password in passwords.items()],
        "permissions": [{"user": user, "vhost": VHOST, **rights_of(user)} for user in passwords],
    }


def admit(management_url: str, passwords: Mapping[str, str]) -> None:
    """Lets these users in, with their rights, makes what is missing of the map, and takes out what has left
    it; asked as the operator.

    For brokers that all run together: a queue that is made earlier has fewer members. Raises
    ManagementUnavailable.
    """
    what = {**definitions(passwords), **topology()}
    ask_management(management_url, DEFINITIONS_PATH, IMPORT_SECONDS, "POST", what)
    remove_retired(management_url, VHOST)


def topology() -> dict[str, Any]:
    """The whole map, as a broker imports it; what exists stays as it is."""
    return {
        "exchanges": [
            {"name": each.name, "type": each.type, **_LASTING, "internal": False, "arguments": {}}
            for each in EXCHANGES
        ],
        "queues": [{"name": each.name, **_LASTING, "arguments": dict(each.arguments)} for each in queues()],
        "bindings": [
            {
                "source": each.exchange,
                "vhost": VHOST,
                "destination": each.queue,
                "destination_type": "queue",
                "routing_key": each.routing_key,
                "arguments": {},
            }
            for each in BINDINGS
        ],
    }


_LASTING: Final = {"vhost": VHOST, "durable": True, "auto_delete": False}


def _consumed(consumption: Consumption) -> list[str]:
    return [consumption.queue, *map(consumption.retry_queue, RETRY_TIERS_SECONDS)]


def _any_of(names: Iterable[str]) -> str:
    return f"^({'|'.join(map(re.escape, sorted(set(names))))})$"


def _user(name: str, password: str) -> dict[str, Any]:
    """RabbitMQ's own hash: salt, then SHA-256 of salt and password. The salt is the same every time, and of
    no weight: these passwords are random."""
    salt = hashlib.sha256(f"{name}:{password}".encode()).digest()[:_SALT_BYTES]
    hashed = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    return {
        "name": name,
        "password_hash": hashed,
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": _TAGS.get(name, ""),
    }
