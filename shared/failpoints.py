"""Named places at which a process can be made to die, so that tests can prove that it loses nothing there.

Compiled in and inert: nothing happens unless the variable ``FAILPOINT`` names one, as ``after_reserve`` for
the first time it is reached or ``after_reserve:25`` for the 25th. Dying means what SIGKILL means: no cleanup,
no goodbye. Only the log is written first, so that it shows what was done before.
"""

import contextlib
import os
from typing import Final

from shared.logs import flush_logs

EXIT_AT_FAILPOINT: Final = 137
VARIABLE: Final = "FAILPOINT"

FAILPOINTS: Final = {
    "after_accept": "api_gateway: the order is in the store, nothing is published",
    "after_publish_sent": "api_gateway: the message is on its way, no confirm has come",
    "after_confirm": "api_gateway: the broker has confirmed, the outbox entry is still there",
    "before_202": "api_gateway: all is done, the client has no answer",
    "after_reserve": "order_processor: stock is taken, nothing is announced",
    "after_authorise": "order_processor: the provider has taken the money, the order does not say so",
    "after_void": "order_processor: the provider has given the money back, the order does not say so",
    "after_event_confirm": "order_processor: a message of events is confirmed, its delivery is not acked",
    "before_ack": "order_processor, notifier: the whole batch is carried out, nothing is acked",
    "between_send_and_mark": "notifier, webhooks: the customer is told, the store does not know",
}


class _Armed:
    """What the process dies at, if anything."""

    name: str | None = None
    hits_left: int = 0


def check(spec: str) -> tuple[str, int]:
    """Reads ``NAME`` or ``NAME:HIT``; an empty text means none. Raises ValueError for anything else."""
    name, _, hit = spec.partition(":")
    if name and name not in FAILPOINTS:
        raise ValueError(f"there is no {name!r}; there are {', '.join(FAILPOINTS)}")
    if hit and not hit.isdecimal():
        raise ValueError("the part behind the colon is a count")
    return name, int(hit or 1)


def arm(spec: str) -> None:
    """Arms what ``spec`` names, or nothing where it is empty."""
    name, hit = check(spec)
    _Armed.name = name or None
    _Armed.hits_left = hit


def is_armed(name: str) -> bool:
    """Whether this point is the one to die at, sooner or later."""
    return _Armed.name == name


def failpoint(name: str) -> None:
    """Dies here if armed and due."""
    if _Armed.name != name:
        return
    _Armed.hits_left -= 1
    if _Armed.hits_left <= 0:
        with contextlib.suppress(OSError):
            flush_logs()
        os._exit(EXIT_AT_FAILPOINT)
